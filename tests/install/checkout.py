"""Temporary checkouts to run init.sh in, with a PATH of chosen programs."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = "sh cat cksum cut date dirname find grep head kill mkdir printf rm sed sleep sort tail tr uname".split()
CONSTRAINTS = ("constraints.txt", "constraints-common.txt", "constraints-torch.txt")


class Checkout:
    """A copy of the files that init.sh reads, a PATH with only the programs put there, and an empty home."""

    def __init__(self, folder: Path):
        self.root, self.programs, self.home = folder / "checkout", folder / "bin", folder / "home"
        for path in (self.root, self.programs, self.home):
            path.mkdir()
        (self.root / "lib").mkdir()
        for name in ("init.sh", "requirements-gpu.txt", "pyproject.toml", "setup.py", "lib/usable.py", *CONSTRAINTS):
            shutil.copy(ROOT / name, self.root / name)
        for name in TOOLS:
            found = shutil.which(name)
            if found:  # some are shell built-ins only
                (self.programs / name).symlink_to(found)

    def script(self, path: Path | str, text: str) -> Path:
        path = self.programs / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def compilers(self) -> None:
        self.script("gcc", "exit 0")
        self.script("g++", "exit 0")

    def python(self, path: Path | str, version: tuple[int, int, int]) -> Path:
        """This Python, which runs a script and pretends to be another version (with its own headers)."""
        setup = (
            f"import sys, sysconfig; sys.version_info = {(*version, 'final', 0)}; exec(open(sys.argv.pop(1)).read())"
        )
        return self.script(path, f'exec {sys.executable} -c "{setup}" "$@"')

    def run(self, *options: str, shell: str = "sh", **environment: str) -> subprocess.CompletedProcess:
        base = {"PATH": str(self.programs), "HOME": str(self.home), "LC_ALL": "C"}
        command = [shutil.which(shell), "init.sh", *options]
        return subprocess.run(
            command, cwd=self.root, env={**base, **environment}, capture_output=True, text=True, timeout=120
        )

    def fails(self, *options: str, status: int = 1, **environment: str) -> str:
        """Runs it, expects this status and one line that starts with `error: `; returns that line."""
        done = self.run(*options, **environment)
        assert done.returncode == status, done.stdout + done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr


CUDA = """
import os, sys
def mxnet_folder(): return None
if __name__ == "__main__":
    print(os.environ["CARD"])
    sys.exit(int(os.environ["STATUS"]))
"""

# PyTorch as its loader hands it on: built with CUDA unless $CUDA is empty.
TORCH = """
import os
class torch:
    __version__ = "2.13.0"
    class version: cuda = os.environ.get("CUDA", "13.0") or None
    class cuda: device_count = staticmethod(lambda: 0)
"""


class Installed(Checkout):
    """A checkout with one Cython module, stand-ins for the rest, and an active venv whose pip records its calls."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.compilers()
        self.calls = folder / "calls"
        self.module = self.root / f"lib/nms/fast{sysconfig.get_config_var('EXT_SUFFIX')}"
        for name, text in {
            "lib/__init__.py": "",
            "lib/backends/mxnet/loader.py": "class mx: __version__ = '1.9.1'",
            "lib/backends/torch/loader.py": TORCH,
            "lib/ops/library.py": "import ctypes.util\ndef checked_kernels(): return ctypes.util.find_library('c')",
            "lib/cuda.py": CUDA,
            "lib/backends/mxnet/library.py": "def load(): pass",
            "lib/nms/fast.pyx": "",
            "lib/nms/fast/__init__.py": "",  # imported in place of the module, which is not built here
            "numpy.py": "__version__ = '1.26.4'",
            "cv2.py": "__version__ = '4.10.0'",
            "rfcn/__init__.py": "",
            "fgfa_rfcn/__init__.py": "",
            "dff_rfcn/__init__.py": "",
        }.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        shutil.copy(ROOT / "lib/install.py", self.root / "lib")
        self.script(
            self.home / "venv/bin/python",
            f"""case "$1 $2" in
            "-m pip") echo "$*" >>{self.calls}; case "$*" in *" -e "*) : >{self.module} ;; esac ;;
            "-m lib.ops.build") echo "built" ;;
            lib/usable.py*) echo 3.11.7 ;;
            *) PYTHONPATH={self.root} exec {sys.executable} "$@" ;;
            esac""",
        )

    def pip_calls(self, *options: str, **environment: str) -> list[str]:
        """Arguments of pip, after its options, in a run that must succeed."""
        self.calls.write_text("")
        done = self.run(*options, VIRTUAL_ENV=str(self.home / "venv"), **environment)
        assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
        assert "Done in" in done.stdout
        return [re.sub(r".* -c constraints\S*\.txt ", "", line) for line in self.calls.read_text().splitlines()]
