"""Shows the images of two demo runs on the same clip side by side in an animation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from lib.argument import Parser, real
from lib.dataset.image import read
from lib.errors import InputError, command
from lib.output_paths import check_output
from lib.video.clips import open_clip
from lib.video.drawing import side_by_side
from lib.video.pictures import animate, write_picture


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("folders", nargs=2, type=Path, help="output folders of two demo runs")
    parser.add_argument("--titles", nargs=2, default=("R-FCN", "FGFA"), help="titles above them (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="animation to write, .gif or .webp")
    parser.add_argument("--fps", type=real(0.1, 1000), default=6, help="frames per second (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.out.suffix.lower() not in (".gif", ".webp"):
        raise InputError(f"--out {args.out}: must end in .gif or .webp")
    check_output(args.out, pipes=False)
    frames = [frame.name for frame in open_clip(str(args.folders[0] / "*.JPEG"))]
    with tempfile.TemporaryDirectory() as folder:
        joined = []
        for name in frames:
            if not (args.folders[1] / name).is_file():
                raise InputError(f"{args.folders[1] / name}: missing; run both demos on the same clip")
            images: list[np.ndarray] = [read(each / name) for each in args.folders]
            joined.append(Path(folder) / f"{name}.png")
            write_picture(joined[-1], side_by_side(images, args.titles))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        animate(joined, args.out, args.fps, max_size=1200)


if __name__ == "__main__":
    main()
