"""`python -m lib.dataset.import_coco`: see `lib.dataset.importing.coco`."""

from lib.dataset.importing.coco import main

if __name__ == "__main__":
    main()
