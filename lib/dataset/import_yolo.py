"""`python -m lib.dataset.import_yolo`: see `lib.dataset.importing.yolo`."""

from lib.dataset.importing.yolo import main

if __name__ == "__main__":
    main()
