"""Bad input ends an entry script with one line and exit status 2; a fault of the program keeps its traceback."""

from __future__ import annotations

import pytest

from lib.errors import InputError, command


def test_bad_input(capsys):
    @command
    def main(argv=None):
        """What it does."""
        raise InputError(f"{argv[0]}: broken")

    with pytest.raises(SystemExit) as left:
        main(["a.xml"])
    assert left.value.code == 2
    assert capsys.readouterr() == ("", "error: a.xml: broken\n")
    assert main.__doc__ == "What it does."


def test_other_errors_pass():
    @command
    def main(argv=None):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


def test_no_error():
    seen = []

    @command
    def main(argv=None):
        seen.append(argv)

    main(["x"])
    main()
    assert seen == [["x"], None]
