"""`python -m lib.dataset.export`: see `lib.dataset.exporting.command`."""

from lib.dataset.exporting.command import main

if __name__ == "__main__":
    main()
