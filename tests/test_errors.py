"""Invalid input ends an entry script with one line and exit status 2; a program error keeps its traceback."""

from __future__ import annotations

import pytest

from lib.argument import Parser
from lib.errors import InputError, command, counted, nearest, quoted, read_text


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


@pytest.mark.parametrize("given, message", [
    (["--treshold", "3"], "unrecognized arguments: --treshold 3; did you mean --threshold?"),
    (["--foo=3", "x"], "unrecognized arguments: --foo=3 x; --help lists the options"),
    (["--threshold", "x"], "argument --threshold: invalid int value: 'x'; --help lists the options"),
    (["x"], "unrecognized arguments: x; --help lists the options"),
])  # fmt: skip
def test_bad_arguments(capsys, given, message):
    @command
    def main(argv=None):
        parser = Parser()
        parser.add_argument("--threshold", type=int)
        parser.parse_args(argv)

    with pytest.raises(SystemExit) as left:
        main(given)
    assert left.value.code == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


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


def test_one_thing_and_more():
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert counted(1, "class") == "1 class" and counted(3, "class") == "3 classes"


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


@pytest.mark.parametrize(
    "error, line",
    [
        (
            FileNotFoundError(2, "No such file or directory", "a.txt"),
            "a.txt: No such file or directory; check the path",
        ),
        (OSError(28, "No space left on device"), "input or output: No space left on device"),
        (MemoryError("Unable to allocate 9 TiB"), "not enough memory (Unable to allocate 9 TiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory (Defa"),
        (RuntimeError("Traceback:\n file\nMXNetError: Failed to allocate CPU Memory"), "not enough memory (MXNetE"),
        (RecursionError("maximum recursion depth"), "nested too deeply"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "surrogates not allowed"),
        (UnicodeEncodeError("utf-8", "." * 9999 + "\udcff", 9999, 10000, "surrogates not"), r"...\udcff': cannot be w"),
        (ValueError("embedded null byte"), "contains a NUL byte"),
        (RuntimeError("Could not determine home directory."), "user who does not exist"),
        (InputError("two\nlines\x1b[31m" + "x" * 10000), "two lines\\x1b[31mxxx"),
    ],
)
def test_errors_of_the_system_are_one_line(capsys, error, line):
    @command
    def main(argv=None):
        raise error

    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    text = capsys.readouterr().err
    assert line in text and text.startswith("error: ") and text.count("\n") == 1 and len(text) < 5000


def test_ctrl_c(capsys):
    @command
    def main(argv=None):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"


def test_long_values_are_shortened():
    assert quoted("a") == "'a'"
    assert len(quoted("x" * 10**6)) == len(quoted([0] * 1000)) == 200
    assert quoted(10**5000) == "a very long int"
