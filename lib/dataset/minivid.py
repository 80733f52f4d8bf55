"""The command `python -m lib.dataset.minivid`, which is `lib.minivid`."""

from lib.minivid.__main__ import main

if __name__ == "__main__":
    main()
