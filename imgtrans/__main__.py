"""``python -m imgtrans``, which ``torchrun -m imgtrans`` needs."""

from imgtrans.cli import main

if __name__ == "__main__":
    main(prog_name="imgtrans")
