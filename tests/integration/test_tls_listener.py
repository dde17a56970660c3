"""The bounded listener on loopback: who gets in, what a flood of silent sockets costs, what is refused before TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from proto.edge.identity import Role
from proto.edge.listener import Bounds, TlsListener
from proto.edge.tls import TlsFiles, accepting, client_context, identity_of, own_certificate, server_context
from witness.pki.store import create_ca, issue

WAIT_S = 10
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Runner:
    def runner(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop:
            loop.run(asyncio.wait_for(main, WAIT_S))

    return runner


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    create_ca(directory)
    for site in ("dc-a", "dc-b"):
        issue(directory, "agent", site, groups=["erp"], hosts=["127.0.0.1"])
    issue(directory, "operator", "ann", role="viewer")
    return directory


def files(pki: Path, name: str) -> TlsFiles:
    where = pki / name
    return TlsFiles(where / "ca.pem", where / "cert.pem", where / "key.pem")


class Rig:
    """Answers each connection with the name that its certificate shows."""

    def __init__(self, pki: Path, bounds: Bounds) -> None:
        own = files(pki, "agent-dc-a")
        self.pki = pki
        self.refused: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        context = server_context(own, accepting(own_certificate(own).identity, Role.AGENT), self.refused.append)
        self.listener = TlsListener("test", context, self._protocol, lambda: len(self.writers), bounds)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._greet)

    def _greet(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(identity_of(writer.get_extra_info("ssl_object")).name.encode() + b"\n")

    async def dial(self, name: str = "agent-dc-b") -> tuple[bytes, asyncio.StreamWriter]:
        """What was said, b"" when it was closed instead."""
        own = files(self.pki, name)
        context = client_context(own, accepting(own_certificate(own).identity, Role.AGENT), check_hostname=False)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.ports[0], ssl=context)
        return await reader.readline(), writer


@contextlib.asynccontextmanager
async def listening(pki: Path, bounds: Bounds) -> AsyncIterator[Rig]:
    rig = Rig(pki, bounds)
    await rig.listener.start("127.0.0.1", 0)
    try:
        yield rig
    finally:
        await rig.listener.close()
        for writer in rig.writers:
            writer.close()
        for writer in rig.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


def test_an_entitled_peer_gets_in_and_another_is_refused_by_name(pki: Path, run: Runner) -> None:
    async def main() -> None:
        async with listening(pki, Bounds(open_max=8)) as rig:
            said, writer = await rig.dial()
            assert said == b"dc-b\n"
            writer.close()
            with contextlib.suppress(OSError):
                said, _ = await rig.dial("operator-ann")
                assert said == b""
            assert "the role agent is needed" in rig.refused[0]

    run(main())


def test_silent_sockets_are_closed_in_time_and_beyond_the_bound_at_once(pki: Path, run: Runner) -> None:
    async def main() -> None:
        async with listening(pki, Bounds(open_max=8, handshakes_max=2, handshake_s=0.3)) as rig:
            port = rig.listener.ports[0]
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
            over = [await ended(reader) for reader, _ in silent]
            assert over == [True] * 5
            assert rig.listener.turned_away == 3
            said, writer = await rig.dial()
            assert said == b"dc-b\n", "after the flood the door is open again"
            for one in (writer, *(writer for _, writer in silent)):
                one.close()

    run(main())


def test_open_connections_count_until_they_are_closed(pki: Path, run: Runner) -> None:
    async def main() -> None:
        async with listening(pki, Bounds(open_max=1)) as rig:
            said, writer = await rig.dial()
            assert said == b"dc-b\n"
            with pytest.raises((OSError, ssl.SSLError)):
                await rig.dial()
            rig.writers.pop().close()
            writer.close()
            said, writer = await rig.dial()
            assert said == b"dc-b\n"
            writer.close()

    run(main())


def test_an_address_that_cannot_be_bound_is_told(pki: Path, run: Runner) -> None:
    async def main() -> None:
        async with listening(pki, Bounds(open_max=1)) as rig:
            with pytest.raises(OSError, match="in use"):
                await rig.listener.start("127.0.0.1", rig.listener.ports[0])

    run(main())
