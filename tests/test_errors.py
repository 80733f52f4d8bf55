"""Invalid input ends an entry script with one line and exit status 2; a program error keeps its traceback."""

from __future__ import annotations

import pytest

from lib.errors import InputError, command, nearest, read_text


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


@pytest.mark.parametrize(
    "word, cutoff, expected",
    [("frames", 0.6, "Frames"), ("Farmes", 0.6, "Frames"), ("wxyz", 0.6, None), ("wxyz", 0.0, "y")],
)
def test_what_a_word_may_have_meant(word, cutoff, expected):
    assert nearest(word, ["Frames", "y"], cutoff) == expected


def test_text_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(InputError, match=r"a\.txt: cannot be read \(No such file or directory\); put it there"):
        read_text(path, "put it there")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"a\.txt: list is broken \(not UTF-8 text\); put it there"):
        read_text(path, "put it there", "list is broken")
    path.write_bytes(b"\xef\xbb\xbfone\n")
    assert read_text(path, "") == "one\n"
