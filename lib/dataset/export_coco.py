"""`python -m lib.dataset.export_coco`: see `lib.dataset.exporting.coco`."""

from lib.dataset.exporting.command import main

if __name__ == "__main__":
    main(form="coco")
