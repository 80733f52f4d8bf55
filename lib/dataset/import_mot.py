"""`python -m lib.dataset.import_mot`: see `lib.dataset.importing.mot`."""

from lib.dataset.importing.mot import main

if __name__ == "__main__":
    main()
