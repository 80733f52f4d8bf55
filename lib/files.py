"""Outputs: files and folders that appear whole or not at all, locks on them, and SHA-256 of files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.output_paths import check_output, followed, is_stream, open_stream

log = logging.getLogger(__name__)

_MARK = ".unfinished-"  # in the names of temporary files and folders
_UNFINISHED = re.compile(rf"\..*{re.escape(_MARK)}[a-z0-9_]{{8}}(\.[^.]+)?")
_tidied: set[Path] = set()  # folders that this process has freed of temporary files of dead processes


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, durable: bool = True, pipes: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`, with its suffix; replaces `path` with it on success, else deletes it.

    A symbolic link stays, and the file that it points to is replaced. To a pipe, /dev/null or an open descriptor such
    as /dev/stdout, the content is copied at the end. durable: whether it must survive a power failure, which costs
    milliseconds. pipes: whether `path` may be a named pipe, which waits for its reader; only for files that the user
    names. Raises InputError if `path` is a folder, a device or a socket.
    """
    suffix = Path(path).suffix  # libraries choose a format by it, which the file that a link points to may lack
    path = followed(check_output(path, pipes=pipes))
    stream = is_stream(path)
    folder = Path(tempfile.gettempdir()) if stream else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    _remove_dead(folder)
    with _claimed(lambda: _make_file(folder, path, suffix)) as temporary:
        try:
            yield temporary
            if stream:
                with open_stream(path) as out, open(temporary, "rb") as file:
                    shutil.copyfileobj(file, out)
                return
            temporary.chmod(0o666 & ~_umask())
            if durable:
                sync(temporary)
            temporary.replace(path)
            if durable:
                sync(path.parent)
        except OSError as error:
            if error.filename is None:  # a full disk, for example
                error.filename = os.fspath(path)
            raise
        finally:
            temporary.unlink(missing_ok=True)


def json_text(path: str | os.PathLike, content: Any, **options: Any) -> str:
    """`content` as JSON for the file `path`. Raises InputError for NaN and infinity, which are not JSON."""
    try:
        return json.dumps(content, allow_nan=False, **options)
    except ValueError as error:
        raise InputError(f"{path}: not written, since a number in it is not finite; check the inputs") from error


def write_json(path: str | os.PathLike, content: Any, *, indent: int | None = 1, pipes: bool = True) -> None:
    """Writes a file as `replacing` does. Raises InputError as `json_text`."""
    text = json_text(path, content, indent=indent)
    with replacing(path, pipes=pipes) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `path` on success, else deleted. `path` must not exist, or be an
    empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(path.parent)
    with _claimed(lambda: tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent)) as temporary:
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.is_dir():
                path.rmdir()
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextlib.contextmanager
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes from writing the file or folder `path`, with a lock file beside it.

    The system releases the lock when this process ends, however it ends. Raises InputError if another process has it,
    naming that process and its host, or if `path` cannot be created. Streams are not locked. Also deletes what dead
    processes left there.
    """
    path = followed(check_output(path, folder=True))
    if is_stream(path):
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _locked_file(lock, path)
    for folder in (path.parent, path):
        if folder.is_dir():
            _remove_dead(folder)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)
        with contextlib.suppress(OSError):  # folders that are in use
            for folder in made:
                folder.rmdir()


def sha256(path: str | os.PathLike) -> str:
    """Hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _prefix(path: Path) -> str:
    return f".{path.stem[:40]}{_MARK}"


def _make_file(folder: Path, path: Path, suffix: str) -> str:
    try:
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=suffix, dir=folder)
    except OSError as error:
        error.filename = os.fspath(path)  # not the temporary name, which says nothing to the user
        raise
    os.close(handle)
    return name


@contextlib.contextmanager
def _claimed(make: Callable[[], str]) -> Iterator[Path]:
    """Yields the temporary file or folder that `make` creates, locked, so that no process takes it for a dead one's."""
    while True:
        name = make()
        try:
            handle = os.open(name, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for a dead one's before it was locked
            continue
        _lock(handle, wait=True)
        if os.path.exists(name):
            break
        os.close(handle)
    try:
        yield Path(name)
    finally:
        os.close(handle)


def _remove_dead(folder: Path) -> None:
    """Deletes temporary files and folders that dead processes left in `folder`, once for each folder and process."""
    folder = folder.absolute()
    if folder in _tidied:
        return
    _tidied.add(folder)
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _UNFINISHED.fullmatch(entry.name) and not entry.is_symlink()]
    for name in names:
        path = folder / name
        with contextlib.suppress(OSError):  # it is gone, or belongs to someone else
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                if _lock(handle, wait=False):
                    log.info("deleting %s, which a process left that was killed", path)
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
            finally:
                os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    """Locks an open file or folder until it is closed; False if another process has it.

    Where the file system has no locks, True if `wait`, otherwise False.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        return wait
    return True


def _locked_file(lock: Path, path: Path) -> int:
    """The open lock file."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                who = _owner(handle)
                os.close(handle)
                message = f"{path}: {who} is writing it; wait until it ends, or choose another output"
                raise InputError(message) from error
            log.warning("%s: this file system has no locks (%s); do not start a second process", path, error.strerror)
            return handle
        try:
            if os.stat(lock).st_ino == os.fstat(handle).st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # its owner deleted it after we had opened it


def _owner(handle: int) -> str:
    try:
        content = json.loads(os.pread(handle, 1000, 0))
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):  # that process has not written it yet
        return "another process"


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot, for folders
            raise
    finally:
        os.close(handle)
