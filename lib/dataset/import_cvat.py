"""`python -m lib.dataset.import_cvat`: see `lib.dataset.importing.cvat`."""

from lib.dataset.importing.cvat import main

if __name__ == "__main__":
    main()
