"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from lib import files
from lib.errors import InputError
from lib.files import locked, new_folder, replacing, sha256, write_json
from lib.output_paths import check_output
from tests.tiny import ROOT


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".json" and temporary.name.startswith(".")
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole" and os.listdir(path.parent) == ["a.json"]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), replacing(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half-way")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_with_a_number_that_is_not_finite_is_not_written(tmp_path, value):
    with pytest.raises(InputError, match="a number in it is not finite"):
        write_json(tmp_path / "a.json", {"a": [1.0, value]})
    assert not os.listdir(tmp_path)


def test_a_link_to_a_file_of_another_suffix_keeps_the_suffix(tmp_path):
    (tmp_path / "a.gif").symlink_to("plain")
    with replacing(tmp_path / "a.gif") as temporary:
        assert temporary.suffix == ".gif"
        temporary.write_text("whole")
    assert (tmp_path / "plain").read_text() == "whole" and (tmp_path / "a.gif").is_symlink()


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    assert not os.listdir(tmp_path)


def test_permissions_are_those_of_any_new_file(tmp_path):
    umask = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_bytes(b"")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_sha256(tmp_path):
    content = bytes(range(256)) * 10000  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def write(path, text="new"):
    with replacing(path) as temporary:
        temporary.write_text(text)


# What is not a regular file


def test_links_stay_and_their_file_is_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("a/file.txt")
    (tmp_path / "twice.txt").symlink_to("link.txt")
    (tmp_path / "dangling.txt").symlink_to("a/new.txt")
    write(tmp_path / "twice.txt")
    write(tmp_path / "dangling.txt")
    assert (tmp_path / "a" / "file.txt").read_text() == (tmp_path / "a" / "new.txt").read_text() == "new"
    assert all((tmp_path / name).is_symlink() for name in ("link.txt", "twice.txt", "dangling.txt"))
    assert sorted(os.listdir(tmp_path / "a")) == ["file.txt", "new.txt"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    with replacing(tmp_path / "pipe", pipes=True) as path:
        path.write_text("new")
    reader.join(10)
    assert got == ["new"] and (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]
    with pytest.raises(InputError, match="pipe: is a pipe instead of a file; remove it"):
        write(tmp_path / "pipe")  # a file that no user named must not wait for a reader
    write(os.devnull)
    assert not os.path.isfile(os.devnull)


def test_errors_of_the_system_name_the_file(tmp_path):
    with pytest.raises(OSError) as raised, replacing(tmp_path / "a.txt"), open("/dev/full", "w") as file:
        file.write("x")
        file.flush()
    assert raised.value.filename == str(tmp_path / "a.txt")
    with pytest.raises(OSError, match=r"/proc/a\.txt"), replacing("/proc/a.txt"):
        pass


@pytest.mark.parametrize("to", ["pipe", "file"])
def test_dev_stdout_is_written_in_order(tmp_path, to):
    program = (
        "import sys; from lib.files import replacing\nprint('before')\n"
        "with replacing('/dev/stdout') as path: path.write_text('content\\n')\nprint('after')"
    )
    command, where = [sys.executable, "-c", program], {"cwd": ROOT, "check": True, "text": True}
    if to == "pipe":
        found = subprocess.run(command, stdout=subprocess.PIPE, **where).stdout
    else:
        with open(tmp_path / "out", "w") as out:
            subprocess.run(command, stdout=out, **where)
        found = (tmp_path / "out").read_text()
    assert found == "before\ncontent\nafter\n"


def test_folders_devices_sockets_and_circles_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name, reason in {
            "folder": "is a folder; give the name of a file",
            "socket": "is a device or socket, which is not written to; choose another output",
            "/dev/zero": "is a device or socket, which is not written to; choose another output",
            "circle": r"cannot be written \(Too many levels of symbolic links\); choose another output",
        }.items():
            for refused in (check_output, write):
                with pytest.raises(InputError, match=f"^{name}: {reason}$"):
                    refused(name)
    assert check_output("folder", folder=True).is_dir() and os.listdir("folder") == []


# What killed processes leave

KILLED = """
import os, signal, sys
from pathlib import Path
from lib.files import locked, new_folder, replacing
kind, path = sys.argv[1], Path(sys.argv[2])
with {"file": replacing, "folder": new_folder, "lock": locked}[kind](path):
    print("started", flush=True)
    os.kill(os.getpid(), signal.SIGKILL if sys.argv[3] == "die" else signal.SIGSTOP)
"""


def process(kind, path, then):
    command = [sys.executable, "-c", KILLED, kind, str(path), then]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "started\n"
    if then == "die":
        assert started.wait(30) == -signal.SIGKILL
    return started


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_killed_processes_left_is_removed_and_that_of_living_ones_stays(tmp_path, monkeypatch, caplog, kind):
    process(kind, tmp_path / "dead.txt", "die")
    (tmp_path / ".mine").write_text("")
    (left,) = tmp_path.glob(".dead.unfinished-*")
    with process(kind, tmp_path / "living.txt", "wait") as living:
        try:
            assert not left.exists(), "the second process did not tidy up"
            monkeypatch.setattr(files, "_tidied", set())
            write(tmp_path / "new.txt")
            (kept,) = tmp_path.glob(".living.unfinished-*")
        finally:
            living.kill()
    monkeypatch.setattr(files, "_tidied", set())
    with caplog.at_level(logging.INFO), new_folder(tmp_path / "made"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".mine", "made", "new.txt"]
    assert f"deleting {kept}, which a process left that was killed" in caplog.text


def test_a_lock_names_its_process_and_is_taken_over_from_a_dead_one(tmp_path):
    path = tmp_path / "new" / "film.mp4"
    process("lock", path, "die")
    with process("lock", path, "wait") as living:
        try:
            who = f"{path}: process {living.pid} on {socket.gethostname()} is writing it; wait until it ends, or choose"
            with pytest.raises(InputError, match=who), locked(path):
                pass
        finally:
            living.kill()
    with locked(path):
        content = json.loads((path.parent / ".film.mp4.lock").read_text())
        assert content == {"pid": os.getpid(), "host": socket.gethostname()}
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), locked(path):
            pass
    assert os.listdir(path.parent) == []


def test_a_lock_leaves_no_folders_behind(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path / "a" / "b" / "film.mp4"):
        raise RuntimeError
    assert os.listdir(tmp_path) == []
