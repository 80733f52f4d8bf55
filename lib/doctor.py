"""The command `python -m lib.doctor`, which is `lib.cli.doctor`."""

from lib.cli.doctor import main

if __name__ == "__main__":
    main()
