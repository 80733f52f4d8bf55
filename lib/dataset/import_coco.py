"""The command `python -m lib.dataset.import_coco`, which is `lib.dataset.importing.coco`."""

from lib.dataset.importing.coco import main

if __name__ == "__main__":
    main()
