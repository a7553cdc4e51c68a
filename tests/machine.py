"""Somebody else's computer, as far as a folder can be one."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path


def in_folder(folder, *words, path=""):
    """Run a Python module in a folder, with packages from ``path`` before all others."""
    paths = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


class Machine:
    """A virtual environment of its own that sees imgtrans and its libraries, and a working folder.

    It reads this environment's packages through a ``.pth`` file: what a plugin's user installed
    with pip some day, without the minutes that installing it takes.
    """

    def __init__(self, home):
        self.home, self.venv = home, home / "venv"
        make = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip"]
        subprocess.run([*make, self.venv], check=True, timeout=60)
        (site,) = self.venv.glob("lib/python*/site-packages")
        ours = sysconfig.get_path("purelib")
        (site / "imgtrans.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        self.python = self.venv / "bin/python"
        for name in ("imgtrans", "pytest"):
            self._script(name, f'{self.python} -m {name} "$@"')
        self._script("ruff", f'{Path(sys.executable).parent / "ruff"} "$@"')
        self._script("pip", f'{sys.executable} -m pip --python {self.venv} "$@"')

    def _script(self, name, command):
        script = self.venv / "bin" / name
        script.write_text(f"#!/bin/sh\nexec {command}\n")
        script.chmod(0o755)

    def start(self, *arguments):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
        return subprocess.Popen(
            [self.python, *arguments], cwd=self.home, env=environment, text=True, stdout=-1,
            stderr=-1,
        )  # fmt: skip

    def run(self, *arguments, code=0):
        process = self.start("-m", "imgtrans", *arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        assert "Traceback" not in err
        return out, err

    def load_model(self):
        code = "import imgtrans; imgtrans.load_model('runs/whole')"
        return self.start("-c", code).communicate(timeout=120)[1]

    def pip(self, *arguments):
        command = [sys.executable, "-m", "pip", "--python", str(self.venv), *arguments, "--quiet"]
        subprocess.run(command, check=True, timeout=120, capture_output=True)

    def install(self, wheel):
        self.pip("install", "--no-deps", "--no-index", str(wheel))
