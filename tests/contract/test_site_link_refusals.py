"""The real site link and those whom it does not serve, or not any more: identities, garbage, silence, floods."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from site_link_rig import (
    W1,
    A,
    B,
    EchoServer,
    Events,
    G,
    cluster_of,
    files,
    make_pki,
    ourselves,
    peer,
    request,
    tls_link,
    until,
)

from agents.site_link import carrier, dial, endpoint, shovel
from agents.site_link.dial import answer_of
from agents.site_link.link import TlsSiteLink
from agents.site_link.port import SiteUnreachable
from agents.site_link.wire import Wire
from proto.edge.identity import Role
from proto.edge.tls import accepting, client_context, own_certificate
from proto.site_codec import SITE_FRAME_BYTES_MAX, SITE_REQUESTS
from proto.site_messages import RelayOpen, RelayOpened, SiteHello, SitePing, SitePong, SiteWelcome
from proto.units import ClusterId, GroupId, Nonce, SiteId

C = SiteId("dc-c")
PING = SitePing(Nonce(b"n" * 16))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


class Rig:
    """Site A's link, which knows B alone; the peer is played by hand."""

    def __init__(self, pki: Path, link: TlsSiteLink, events: Events) -> None:
        self.pki, self.link, self.events = pki, link, events
        self.wires: list[Wire] = []

    async def dial(self, me: SiteId = B) -> Wire:
        """Past TLS, before Hello."""
        own = files(self.pki, f"agent-{me}")
        context = client_context(own, accepting(own_certificate(own).identity, Role.AGENT), check_hostname=False)
        self.wires.append(Wire(*await asyncio.open_connection("127.0.0.1", self.link.port, ssl=context)))
        return self.wires[-1]

    def hello(self, **fields: object) -> SiteHello:
        return dataclasses.replace(ourselves(self.pki, B).hello(), **fields)  # type: ignore[arg-type]  # by name

    async def greeted(self) -> Wire:
        wire = await self.dial()
        await wire.send(SITE_REQUESTS.encode(self.hello()))
        assert isinstance(await answer_of(wire), SiteWelcome)
        return wire

    async def sent_away(self, wire: Wire) -> str:
        with pytest.raises(SiteUnreachable) as caught:
            async with asyncio.timeout(10):
                await answer_of(wire)
        wire.close()
        return str(caught.value)


@pytest.fixture
async def rig(pki: Path) -> AsyncIterator[Rig]:
    echoing, events = EchoServer(), Events()
    witness = await echoing.start()
    link = tls_link(pki, A, B, {A: 0, B: 1}, events, witness)
    await link.start()
    work = asyncio.create_task(link.run())
    made = Rig(pki, link, events)
    yield made
    for wire in made.wires:
        wire.close()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await link.close()
    echoing.close()


async def test_an_agent_of_a_site_that_is_no_peer_gets_no_byte(rig: Rig) -> None:
    wire: Wire | None = None
    with contextlib.suppress(OSError):  # TLS 1.3: who dials may believe that it is through before it hears the refusal
        wire = await rig.dial(C)
        await wire.send(SITE_REQUESTS.encode(rig.hello(site=C)))
    if wire is not None:
        with pytest.raises((OSError, EOFError)):
            await answer_of(wire)
        wire.close()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"protocol": 99}, "install one version on all sites"),
        ({"cluster": ClusterId("f" * 32)}, "check `cluster`"),
        ({"site": C}, "the certificate is of site dc-b, the message of dc-c"),
        ({"groups": (G, GroupId("mail"))}, "does not name mail: issue it"),
    ],
)
async def test_a_hello_that_does_not_fit_is_refused_with_the_remedy(
    rig: Rig, fields: dict[str, object], says: str
) -> None:
    wire = await rig.dial()
    await wire.send(SITE_REQUESTS.encode(rig.hello(**fields)))
    assert says in await rig.sent_away(wire)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (request(site=C), "the message of dc-c"),
        (request(site=B, group=GroupId("mail")), "does not name mail"),
    ],
)
async def test_a_request_for_another_site_or_group_ends_the_connection(rig: Rig, asked: object, says: str) -> None:
    wire = await rig.greeted()
    await wire.send(SITE_REQUESTS.encode(asked))  # type: ignore[arg-type]  # of this family
    assert says in await rig.sent_away(wire)
    assert rig.events.asked == []


@pytest.mark.parametrize(
    "frame",
    [b"\xc1 no frame", b"x" * 100, SITE_REQUESTS.encode(RelayOpen(W1))],
    ids=["garbage", "text", "a relay behind a ping"],
)
async def test_what_is_not_understood_ends_this_connection_and_no_other(rig: Rig, frame: bytes) -> None:
    other = await rig.greeted()
    await other.send(SITE_REQUESTS.encode(PING))
    assert await answer_of(other) == SitePong(PING.nonce)
    wire = await rig.greeted()
    await wire.send(SITE_REQUESTS.encode(PING))
    await wire.send(frame)
    assert await answer_of(wire) == SitePong(PING.nonce)
    assert "bad-frame" in await rig.sent_away(wire)
    assert "connected anew" in await rig.sent_away(other), "a newer connection of the same site replaces the older"


async def test_a_frame_above_the_cap_is_never_read(rig: Rig) -> None:
    wire = await rig.greeted()
    wire.writer.write((SITE_FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"x" * 1_000)
    assert "bad-frame" in await rig.sent_away(wire)


async def test_silence_has_an_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "HELLO_S", 0.1)
    monkeypatch.setattr(endpoint, "IDLE_S", 0.1)
    for wire in (await rig.dial(), await rig.greeted()):
        with pytest.raises(EOFError):
            async with asyncio.timeout(10):
                await answer_of(wire)


async def test_who_sends_too_fast_is_read_more_slowly(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BURST_FRAMES", 2)
    monkeypatch.setattr(endpoint, "FRAMES_PER_S", 20)
    wire = await rig.greeted()
    began = asyncio.get_running_loop().time()
    await wire.send(*(SITE_REQUESTS.encode(PING) for _ in range(8)))
    for _ in range(8):
        assert await answer_of(wire) == SitePong(PING.nonce)
    assert asyncio.get_running_loop().time() - began >= 0.25, "six frames beyond the burst, at 20 a second"


async def tunnel(rig: Rig) -> Wire:
    wire = await rig.greeted()
    await wire.send(SITE_REQUESTS.encode(RelayOpen(W1)))
    assert await answer_of(wire) == RelayOpened(W1)
    return wire


async def over(wire: Wire) -> bool:
    """Whether the other side ended it without another byte; raises TimeoutError when it did not within 10 s."""
    left = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            left = await wire.reader.read()
    wire.close()
    return left == b""


async def test_a_newer_tunnel_replaces_the_older_of_the_same_site_and_witness(rig: Rig) -> None:
    old = await tunnel(rig)
    new = await tunnel(rig)
    assert await over(old)
    new.writer.write(b"x")
    assert await new.reader.readexactly(1) == b"x"
    assert rig.link.status()[0]["carried"] == [W1]


async def test_tunnels_end_when_this_site_hears_the_witnesses_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = await tunnel(rig)
    rig.events.hears = False
    assert await over(wire)
    await until(lambda: rig.link.status()[0]["carried"] == [])


async def test_a_tunnel_through_which_nothing_goes_has_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shovel, "LOOK_S", 0.05)
    monkeypatch.setattr(shovel, "IDLE_S", 0.1)
    assert await over(await tunnel(rig))


async def test_a_witness_that_is_down_is_told_in_words(pki: Path) -> None:
    events = Events()
    echoing = EchoServer()
    gone = await echoing.start()
    echoing.close()
    link = tls_link(pki, A, B, {A: 0, B: 1}, events, gone)
    await link.start()
    try:
        other = tls_link(pki, B, A, {A: link.port, B: 0}, Events(), gone)
        with pytest.raises(SiteUnreachable, match=r"does not carry it \(unreachable\)"):
            await other.tunnel(A, W1)
        await other.close()
    finally:
        await link.close()


async def test_an_address_that_leads_to_another_site_is_refused(pki: Path, rig: Rig) -> None:
    with pytest.raises(SiteUnreachable):
        await dial.dial(peer(pki, B, C, rig.link.port), ourselves(pki, B))
    assert cluster_of(pki)
    assert carrier.CONNECT_S < dial.CONNECT_S, "the asker hears why a witness is not reached"
