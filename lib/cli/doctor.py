"""Checks an installation: reports what is there and, for each problem, what to do.

    python -m lib.doctor

Exit status 0: no problem, 1: problems. Paste the whole output into a bug report. It works on a broken installation too,
and reports one cause as one problem.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from lib.argument import Parser
from lib.cli import checks, engine_checks
from lib.cli.checks import INIT, Line
from lib.errors import InputError, command

ROOT = Path(__file__).resolve().parents[2]

CHECKS: dict[str, checks.Check] = {
    "System": checks.system,
    "Packages": checks.packages,
    "Backend": engine_checks.backend,
    "GPU": engine_checks.gpus,
    "MXNet": engine_checks.mxnet,
    "PyTorch": engine_checks.torch,
    "Built here": checks.built,
    "Weights": checks.weights,
    "Datasets": checks.datasets,
}


def examine(root: Path, todo: dict[str, checks.Check]) -> Iterator[tuple[str, Line]]:
    """(section, finding) of every check. A check that raises is a problem, once per message, and the next one runs."""
    seen: dict[str, str] = {}
    for section, check in todo.items():
        try:
            for line in check(root):
                yield section, line
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            known = checks.reported(error) or (text in seen and f"the error is the one under {seen[text]}")
            if known:
                yield section, Line(f"not checked: {known}")
            else:
                seen[text] = section
                yield section, Line(text, _remedy(error))


def _remedy(error: Exception) -> str:
    if isinstance(error, InputError):
        return "follow the message above"
    if isinstance(error, (ImportError, OSError)):
        return INIT
    return f"{INIT}; if that does not help, report it with this whole output"


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(prog="python -m lib.doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="also check every file of the datasets (slow)")
    args = parser.parse_args(argv)
    todo = {**CHECKS, "Datasets": checks.checked_datasets} if args.check else CHECKS
    shown, problems = None, 0
    for section, line in examine(ROOT, todo):
        if section != shown:
            sys.stdout.write(f"{section}\n")
            shown = section
        sys.stdout.write(f"  {line.text}\n")
        if line.remedy:
            problems += 1
            sys.stdout.write(f"    PROBLEM {problems}: {line.remedy}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{problems or 'no'} problem{'' if problems == 1 else 's'}\n")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
