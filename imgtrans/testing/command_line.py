"""The command line in a test: what a command ends with, and what it writes."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from imgtrans.cli import main
from imgtrans.recipe import Recipe, to_toml


@dataclass(frozen=True)
class Outcome:
    """What a command ended with."""

    exit_code: int
    stdout: str
    stderr: str


def run_imgtrans(*arguments: str | Path | Recipe) -> Outcome:
    """Run a command in this process, in the current folder: ``run_imgtrans("run", recipe)``.

    Runs are written below the current folder, so use ``monkeypatch.chdir(tmp_path)``. A plugin
    that is not installed is given with ``"--plugin", FILE``, and stays known in this process.

    Args:
        arguments: as one would type them; a `Recipe` stands for a file that holds it.

    Raises:
        Exception: whatever is no user's mistake, which would show its traceback to a user too.
    """
    out, err, code = io.StringIO(), io.StringIO(), None
    with TemporaryDirectory(prefix="imgtrans-") as folder:
        words = []
        for number, argument in enumerate(arguments):
            if isinstance(argument, Recipe):
                file = Path(folder, f"{number}-{argument.name}.toml")
                file.write_text(to_toml(argument), encoding="utf-8")
                argument = file  # noqa: PLW2901
            words.append(str(argument))
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main.main(words, prog_name="imgtrans")
            except SystemExit as ended:
                code = ended.code
    return Outcome(int(code or 0), out.getvalue(), err.getvalue())
