"""A comparison strikes both products' leases at the same ages: what etcd's holder sends tells when it renewed."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import closing

import pytest
from chaosrig.chaos_renewals import Listener, is_keep_alive

PORT = 2379
DATA, PING, HEADERS = 0, 6, 1
WAIT_S = 5.0


def frame(kind: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, 0]) + (1).to_bytes(4, "big") + body


KEEP_ALIVE = frame(DATA, bytes(5 + 10))
REQUEST = frame(DATA, bytes(5 + 40))


def packet(payload: bytes, port: int = PORT, options: int = 12) -> bytes:
    tcp = (
        struct.pack("!HHIIBBHHH", 40_000, port, 0, 0, (20 + options) // 4 << 4, 0x18, 0, 0, 0)
        + bytes(options)
        + payload
    )
    address = socket.inet_aton("10.0.0.1")
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0, address, address) + tcp


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(KEEP_ALIVE, True, id="a keep-alive"),
        pytest.param(frame(PING, bytes(8)) + KEEP_ALIVE, True, id="behind a ping in one segment"),
        pytest.param(frame(PING, bytes(8)), False, id="a ping alone"),
        pytest.param(frame(HEADERS, bytes(20)), False, id="a new call"),
        pytest.param(REQUEST, False, id="a request that names a key"),
        pytest.param(frame(DATA, b""), False, id="the empty end of a call"),
        pytest.param(b"", False, id="an acknowledgement"),
        pytest.param(KEEP_ALIVE[:5], False, id="a piece of a header"),
    ],
)
def test_a_keep_alive_is_told_from_all_else(payload: bytes, expected: bool) -> None:
    assert is_keep_alive(packet(payload), PORT) is expected


def test_other_traffic_is_no_keep_alive() -> None:
    assert not is_keep_alive(packet(KEEP_ALIVE, port=2380), PORT)
    assert not is_keep_alive(b"\x60" + packet(KEEP_ALIVE)[1:], PORT), "not IPv4"
    assert not is_keep_alive(packet(KEEP_ALIVE)[:30], PORT), "cut short"
    assert is_keep_alive(packet(KEEP_ALIVE) + bytes(6), PORT), "padding of a short frame is not read"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: hearing a host's packets needs root")
def test_the_listener_hears_what_is_sent_and_when() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with closing(Listener("lo", port)) as heard, closing(socket.create_connection(("127.0.0.1", port))) as client:
            assert heard.renewed_ms_ago() is None
            assert heard.period_ms() is None
            client.sendall(REQUEST)
            client.sendall(KEEP_ALIVE)
            ends = time.monotonic() + WAIT_S
            while (ago_ms := heard.renewed_ms_ago()) is None:
                assert time.monotonic() < ends
            assert 0 <= ago_ms < WAIT_S * 1_000
            assert heard.period_ms() is None, "one renewal has no distance to another"
