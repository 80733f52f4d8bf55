"""Processes that watch each other, here as threads."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

from lib import peers
from lib.errors import InputError
from lib.peers import Hub, Member


def members(names: list[str], hub: Hub) -> list[Member]:
    """Members of a hub, which all join at once."""
    joined: dict[str, Member] = {}

    def join(name: str) -> None:
        joined[name] = Member("127.0.0.1", hub.port, name, hub="the scheduler")

    threads = [threading.Thread(target=join, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return [joined[name] for name in names]


def at_once(*calls) -> list:
    results: list = [None] * len(calls)

    def call(number: int) -> None:
        try:
            results[number] = calls[number]()
        except InputError as error:
            results[number] = str(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


NAMES = ["process 0", "process 1", "server 0"]


@pytest.fixture
def three():
    hub = Hub(list(NAMES))
    found = members(NAMES, hub)
    yield hub, found
    for member in found:
        member.leave()


def test_sums_and_shared_bytes(three, monkeypatch):
    monkeypatch.setattr(peers, "_PART", 1000)
    _, (first, second, _) = three
    a, b = np.array([[1 / 3, 1e300]]), np.array([[2**-40, 1.0]])
    for found in at_once(lambda: first.total(a), lambda: second.total(b)):
        np.testing.assert_array_equal(found, a + b)
    content = np.random.default_rng(0).bytes(3500)
    assert at_once(lambda: first.share(content), lambda: second.share(b"")) == [content, content]
    assert at_once(lambda: first.share(b""), lambda: second.share(b"")) == [b"", b""]


def test_all_leave(three):
    hub, found = three
    for member in found:
        member.leave()
    assert hub.over.wait(5) and not hub.failure
    assert not any(member.failure for member in found)


def test_no_thread_of_a_member_is_left(three):
    before = threading.active_count()
    three[1][0].leave()
    assert threading.active_count() <= before - 2


def test_one_that_is_gone_is_named(three):
    hub, (first, second, server) = three
    second._link._socket.shutdown(socket.SHUT_RDWR)
    (line,) = at_once(lambda: first.total(np.zeros(1)))
    assert line.startswith("training stopped: process 1 on 127.0.0.1 has ended; look for its error, then run")
    assert hub.over.wait(5) and "process 1" in hub.failure
    server._failed.wait(5)
    with pytest.raises(InputError, match="process 1"):
        server.check()


def test_one_that_failed_is_named(three):
    _, (first, second, _) = three
    second.leave("has failed")
    (line,) = at_once(lambda: first.total(np.zeros(1)))
    assert "process 1 on 127.0.0.1 has failed" in line


def test_one_that_is_silent_is_named(monkeypatch):
    monkeypatch.setattr(peers, "SILENCE", 1.0)
    hub = Hub(["process 0", "process 1"])
    monkeypatch.setattr(peers, "_BEAT", 30.0)  # of the second one

    def silent() -> Member:
        return Member("127.0.0.1", hub.port, "process 1", hub="process 0")

    def lively() -> str:
        member = Member("127.0.0.1", hub.port, "process 0", hub="process 0")
        member._noticed.set()
        while not member.failure:
            member._link.send(peers._BEATING)
            time.sleep(0.1)
        return member.failure

    found = at_once(lively, silent)
    assert found[0] == "process 1 on 127.0.0.1 is not heard of"
    found[1]._noticed.set()


def test_strangers_are_sent_away(three):
    hub, (first, second, _) = three
    for name, line in [("process 1", "is there twice"), ("process 7", "process 7 is not one of process 0, process 1")]:
        with pytest.raises(InputError, match=line):
            Member("127.0.0.1", hub.port, name, hub="the scheduler")
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"J" + b"\xff" * 8, b""):
        with socket.create_connection(("127.0.0.1", hub.port)) as stranger:
            stranger.sendall(junk)
    assert [
        float(found[0]) for found in at_once(lambda: first.total(np.ones(1)), lambda: second.total(np.ones(1)))
    ] == [2, 2]


def test_missing_ones_are_named(monkeypatch):
    monkeypatch.setattr(peers, "START", 0.5)
    hub = Hub(["process 0", "process 1", "server 0"])
    with pytest.raises(InputError, match="process 1, server 0 did not start within"):
        Member("127.0.0.1", hub.port, "process 0", hub="the scheduler")


def test_no_hub(monkeypatch):
    monkeypatch.setattr(peers, "START", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=rf"server 0: nothing answers at 127\.0\.0\.1:{port} .*within five minutes"):
        Member("127.0.0.1", port, "server 0", hub="the scheduler")


def test_a_used_port():
    hub = Hub(["process 0"])
    with pytest.raises(InputError, match=rf"port {hub.port} cannot be used \(Address already in use"):
        Hub(["process 0"], port=hub.port)
