"""The provenance of a result: weights, lists, code and command that produced it."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from lib.files import sha256

PACKAGES = ("numpy", "mxnet", "torch", "opencv-python-headless", "scipy", "pycocotools")


def manifest(**fields: object) -> dict:
    """A JSON-compatible dict of the given fields, package versions, git commit, command and time.

    A Path becomes {"path", "sha256"}, or {"path"} for a folder; lists of Paths are converted likewise.
    For example manifest(config=Path("x.yaml"), weights=Path("model/x.params"), image_set=Path("list.txt")).
    """
    return {
        **{name: _described(value) for name, value in fields.items()},
        "versions": versions(),
        "git": git_state(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the installed packages, without importing them."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # evaluation needs neither backend, nor pycocotools
    return found


def git_state() -> dict | None:
    """{"commit", "changed"} of the checkout that contains this code; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "changed": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # git is not installed, or the checkout belongs to another user
    return run.stdout.strip()


def _described(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_described(entry) for entry in value]
    if not isinstance(value, Path):
        return value
    return {"path": str(value), "sha256": sha256(value)} if value.is_file() else {"path": str(value)}
