"""Export the networks to ONNX, and check that onnxruntime gives the same outputs."""

from __future__ import annotations

from dff_rfcn.method import METHOD
from lib.cli.export import run_export


def main(argv: list[str] | None = None) -> None:
    run_export(argv, METHOD)


if __name__ == "__main__":
    main()
