"""`python -m lib.dataset.minivid`: see `lib.minivid`."""

from lib.minivid.__main__ import main

if __name__ == "__main__":
    main()
