"""Measures the end-point error of a flow network on moving objects in MiniVID's validation clips, and of zero flow."""

from __future__ import annotations

import logging
from pathlib import Path

from lib.argument import Parser
from lib.cli.options import add_settings, begin
from lib.errors import command, counted
from lib.files import write_json
from lib.methods import method_of
from lib.minivid.pretrain_flow import flow_errors
from lib.nets.params import load
from lib.output_paths import check_distinct, check_output

log = logging.getLogger(__name__)


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    add_settings(parser)
    parser.add_argument("--weights", type=Path, help="parameter file (default: network.pretrained_flow)")
    parser.add_argument("--sharp", action="store_true", help="use frames without blur, noise and low contrast")
    parser.add_argument("--json", type=check_output, help="also write the results to this file")
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set, method_of(args.cfg).schema)
    weights = args.weights or Path(f"{cfg.network.pretrained_flow}-0000.params")
    check_distinct([args.cfg, weights], [args.json])
    errors = flow_errors(cfg, load(weights)[0], degraded=not args.sharp)
    log.info("%s: end-point error on moving objects, in feature cells", weights)
    for distance, values in errors.items():
        log.info("%s apart: %.3f, zero flow %.3f, ratio %.2f", counted(int(distance), "frame"), *values.values())
    if args.json:
        write_json(args.json, errors)


if __name__ == "__main__":
    main()
