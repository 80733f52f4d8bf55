"""Processes of one training that watch each other over TCP, so that none waits for one that has ended.

One process runs a `Hub`; every process is a `Member` of it. A member that dies, or that is not heard of for `SILENCE`
seconds, is named to all others, which then end. Members can also add up numbers and share bytes through the hub. Frames
are a kind of one byte, a length, and that many bytes. Nothing is encrypted or authenticated: use a trusted network.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import sys
import threading
import time

import numpy as np

from lib.errors import InputError

SILENCE = 30.0  # seconds without a heartbeat after which a member counts as ended
_BEAT = 5.0  # seconds between heartbeats
GRACE = 15.0  # seconds in which the main thread may end the process by itself
START = 300.0  # seconds in which all members must have joined
_HEAD = struct.Struct("!cQ")
_LIMIT = 1 << 26  # bytes of a frame
_PART = 1 << 22  # bytes that are shared at once, so that no frame holds up the heartbeats for long

_JOIN, _START_NOW, _BEATING, _LEAVE, _FAILED, _TOTAL, _SHARE = b"J", b"G", b"B", b"L", b"F", b"T", b"S"


class _Link:
    """A connection that sends and receives whole frames."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(SILENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._lock = connection, threading.Lock()

    def send(self, kind: bytes, content: bytes = b"") -> None:
        with self._lock:
            self._socket.sendall(_HEAD.pack(kind, len(content)) + content)

    def receive(self) -> tuple[bytes, bytes]:
        """A frame. Raises OSError if the connection ends, is silent, or carries something else."""
        kind, length = _HEAD.unpack(self._exactly(_HEAD.size))
        if length > _LIMIT:
            raise OSError(f"a frame of {length} bytes")
        return kind, bytes(self._exactly(length))

    def _exactly(self, count: int) -> bytearray:
        content = bytearray(count)
        view = memoryview(content)
        while view:
            read = self._socket.recv_into(view)
            if not read:
                raise OSError("connection closed")
            view = view[read:]
        return content

    def close(self) -> None:
        """Also ends a `receive` or `send` of another thread."""
        with contextlib.suppress(OSError):  # the other side has ended
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Hub:
    """Accepts the members in background threads. members: the names of all; port: 0 for any.

    over: set when a member has failed, and `failure` says which, or when all have left.

    Raises InputError if the port is in use.
    """

    def __init__(self, members: list[str], *, port: int = 0):
        self._names, self._links, self._lock = members, dict[str, _Link](), threading.Lock()
        self._rounds: dict[bytes, dict[str, bytes]] = {_TOTAL: {}, _SHARE: {}}
        self.failure = ""
        self.over = threading.Event()
        try:
            # backlog: all members may call at once
            self._server = socket.create_server(("", port), backlog=1024)
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used ({error.strerror}); choose another port for the job, which needs two"
            ) from error
        self.port = self._server.getsockname()[1]
        for target in (self._accept, self._hurry):
            threading.Thread(target=target, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, address = self._server.accept()
            threading.Thread(target=self._serve, args=(_Link(connection), address[0]), daemon=True).start()

    def _hurry(self) -> None:
        time.sleep(START)
        with self._lock:
            missing = [name for name in self._names if name not in self._links]
        if missing:
            self._fail(f"{', '.join(missing)} did not start within {START:.0f} seconds")

    def _serve(self, link: _Link, host: str) -> None:
        try:
            kind, content = link.receive()
            name = content.decode()
        except (OSError, UnicodeDecodeError):
            link.close()
            return
        with self._lock:
            welcome = kind == _JOIN and name in self._names and name not in self._links
            if welcome:
                self._links[name] = link
            complete = welcome and len(self._links) == len(self._names)
        if not welcome:
            self._send(link, _FAILED, f"{name[:80]} is not one of {', '.join(self._names)}, or is there twice".encode())
            link.close()
            return
        if self.failure:
            self._send(link, _FAILED, self.failure.encode())
        if complete:
            self._to_all(_START_NOW)
        try:
            self._listen(name, link, host)
        except OSError as error:
            reason = "is not heard of" if isinstance(error, socket.timeout) else "has ended"
            self._fail(f"{name} on {host} {reason}")

    def _listen(self, name: str, link: _Link, host: str) -> None:
        while True:
            kind, content = link.receive()
            if kind == _LEAVE:
                if content:
                    self._fail(f"{name} on {host} {content.decode(errors='replace')}")
                with self._lock:
                    self._names.remove(name)
                    del self._links[name]
                    if not self._names:
                        self.over.set()
                return
            if kind in self._rounds:
                self._gather(kind, name, content)
            elif kind == _BEATING:
                link.send(_BEATING)

    def _gather(self, kind: bytes, name: str, content: bytes) -> None:
        with self._lock:
            received = self._rounds[kind]
            received[name] = content
            workers = [each for each in self._names if each.startswith("process")]
            if len(received) < len(workers):
                return
            self._rounds[kind] = {}
        # In the order of the names, so that the sum does not depend on who was first.
        parts = [received[each] for each in workers]
        if kind == _SHARE:
            result = b"".join(parts)
        elif len({len(part) for part in parts}) > 1:
            self._fail("the processes are not at the same step")
            return
        else:
            result = np.sum([np.frombuffer(part) for part in parts], axis=0).tobytes()
        for each in workers:
            self._send(self._links[each], kind, result)

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self.failure:
                return
            self.failure = reason
        self._to_all(_FAILED, reason.encode())
        self.over.set()

    def _to_all(self, kind: bytes, content: bytes = b"") -> None:
        for link in list(self._links.values()):
            self._send(link, kind, content)

    def _send(self, link: _Link, kind: bytes, content: bytes) -> None:
        try:
            link.send(kind, content)
        except OSError:
            pass  # the thread that listens to this member reports it


class Member:
    """This process among those of a hub, which must become complete within five minutes.

    name: as the hub knows it; the names of those that train start with "process". hub: what to call the hub's process.
    If another member ends, `failure` says which, and `total` and `share` raise InputError. If this process is still
    there 15 seconds later, because its engine waits for the others, it is ended with the same line. Raises InputError
    if there is no hub.
    """

    def __init__(self, host: str, port: int, name: str, *, hub: str):
        self.failure, self._hub = "", hub
        self._failed, self._noticed, self._left = threading.Event(), threading.Event(), threading.Event()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        deadline = time.monotonic() + START
        while True:
            try:
                self._link = _Link(socket.create_connection((host, port), timeout=SILENCE))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{name}: nothing answers at {host}:{port} ({error}); start all processes within five minutes"
                    ) from error
                time.sleep(0.2)
        self._link.send(_JOIN, name.encode())
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._listen, self._beat)]
        for thread in self._threads:
            thread.start()
        self._answer()

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of a float64 array over all processes, in the order of their names."""
        values = np.asarray(values, np.float64)
        return np.frombuffer(self._exchange(_TOTAL, values.tobytes())).reshape(values.shape).copy()

    def share(self, content: bytes) -> bytes:
        """What all processes passed, one after the other; all but one of them pass nothing."""
        (length,) = self.total(np.array([len(content)]))
        parts = (content[start : start + _PART] for start in range(0, int(length), _PART))
        return b"".join(self._exchange(_SHARE, part) for part in parts)

    def leave(self, reason: str = "") -> None:
        """Ends the membership. reason: why the others must end too, such as "has failed"."""
        self._noticed.set()
        self._left.set()
        try:
            self._link.send(_LEAVE, reason.encode())
        except OSError:
            pass  # the hub has ended: nobody is left to be informed
        self._link.close()
        for thread in self._threads:
            thread.join()

    def check(self, seconds: float = 0.0) -> None:
        """Raises InputError if another process has ended, or does so within this time."""
        if self._failed.wait(seconds):
            self._noticed.set()
            raise InputError(self._line())

    def _line(self) -> str:
        return stopped(self.failure)

    def _exchange(self, kind: bytes, content: bytes) -> bytes:
        self.check()
        try:
            self._link.send(kind, content)
        except OSError:
            pass  # `_listen` reports it
        return self._answer()

    def _answer(self) -> bytes:
        answer = self._answers.get()
        if answer is None:
            self.check(SILENCE)
        assert answer is not None
        return answer

    def _listen(self) -> None:
        try:
            while True:
                kind, content = self._link.receive()
                if kind == _FAILED:
                    self.failure = content.decode(errors="replace")
                    break
                if kind != _BEATING:
                    self._answers.put(content)
        except OSError:
            if self._left.is_set():
                return
            self.failure = f"{self._hub} has ended"
        self._failed.set()
        self._answers.put(None)
        if not self._noticed.wait(GRACE):
            end(self._line())

    def _beat(self) -> None:
        while not self._left.wait(_BEAT):
            try:
                self._link.send(_BEATING)
            except OSError:
                return  # `_listen` reports it


def stopped(failure: str) -> str:
    """The line that a process ends with after the failure of another one."""
    return f"training stopped: {failure}; look for its error, then run the same command with --resume"


def end(line: str) -> None:
    """Ends this process at once, with a line on stderr and status 2, even while its engine waits."""
    sys.stderr.write(f"error: {line}\n")
    sys.stderr.flush()
    os._exit(2)
