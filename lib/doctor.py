"""Command `python -m lib.doctor`, implemented in `lib.cli.doctor`."""

from lib.cli.doctor import main

if __name__ == "__main__":
    main()
