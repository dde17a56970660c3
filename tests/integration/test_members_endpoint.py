"""The lead's endpoint for members: who is let in, and that whatever else is said ends one connection and no more."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agent_process import make_pki
from member_process import add_member
from members_door import Door, said, works

from proto.errors import FrameRefused
from proto.limits import FRAME_BYTES_MAX
from proto.member_codec import MEMBER_MESSAGES
from proto.member_messages import (
    GroupAsk,
    GroupOffer,
    LeadGoodbye,
    LeadMessage,
    LeadWelcome,
    MemberAsk,
    MemberPhase,
)
from proto.units import ClusterId, Epoch, GroupId, MemberName, Nonce, SiteId
from witness.pki.store import issue

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = add_member(make_pki(tmp_path_factory.mktemp("pki")))
    issue(made, "member", "web9.dc-a", groups=["*"])
    issue(made, "member", "db1.dc-c", groups=["*"])
    return made


@pytest.fixture
async def door(pki: Path, tmp_path: Path) -> AsyncIterator[Door]:
    made = Door(pki, tmp_path)
    await made.endpoint.start()
    yield made
    await made.endpoint.close()


@pytest.mark.parametrize(
    ("changes", "certificate", "says"),
    [
        ({"protocol": 3}, "member-db1.dc-a", "speaks protocol 3"),
        ({"site": SiteId("dc-b")}, "member-db1.dc-a", "this is site dc-a"),
        ({"cluster": ClusterId("f" * 32)}, "member-db1.dc-a", "of cluster"),
        ({}, "member-web9.dc-a", "does not speak for 'db1.dc-a'"),
        ({}, "member-db1.dc-c", "does not speak for 'db1.dc-a'"),
        ({"member": MemberName("web9")}, "member-web9.dc-a", "no member web9"),
        ({"groups": (GroupOffer(GroupId("mail"), ()),)}, "member-db1.dc-a", "may not serve mail"),
    ],
)
async def test_who_is_sent_away_is_told_why(door: Door, changes: dict[str, Any], certificate: str, says: str) -> None:
    async with door.stream(certificate) as socket:
        await socket.send_bytes(MEMBER_MESSAGES.encode(door.hello(**changes)))
        goodbye = await said(socket)
        assert isinstance(goodbye, LeadGoodbye)
        assert says in goodbye.text
    assert door.desk.links == {}
    await works(door)


@pytest.mark.parametrize("name", ["agent-dc-a", "agent-dc-b", "witness-w1"])
async def test_other_roles_do_not_get_through_the_handshake(door: Door, name: str) -> None:
    """TLS 1.3: the client has finished before the server has judged it, so it may notice at its first look only."""
    answer: LeadMessage | None = None
    with contextlib.suppress(aiohttp.ClientError, ConnectionError, ssl.SSLError):
        async with door.stream(name) as socket:
            await socket.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
            answer = await said(socket)
    assert answer is None
    await works(door)


GARBAGE = (
    b"",
    b"\x00",
    os.urandom(64),
    b"\x92\x01\x05",
    b"\x93\x01\x02\x90",
    b"\x95" * 400,
    b"\x94\x01\x02\xc4\x10" + bytes(16) + b"\x91" * 300,
    MEMBER_MESSAGES.encode(MemberAsk(Nonce(bytes(16)), ()))[:-1],
)


@pytest.mark.parametrize("frame", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("greeted", [False, True])
async def test_a_frame_that_is_not_understood_ends_its_connection_alone(
    door: Door, frame: bytes, greeted: bool
) -> None:
    async with door.stream() as socket:
        if greeted:
            await socket.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
            assert isinstance(await said(socket), LeadWelcome)
        await socket.send_bytes(frame)
        assert isinstance(await said(socket), LeadGoodbye)
        assert await said(socket) is None
    assert door.desk.links == {}
    await works(door)


async def test_a_frame_that_is_too_long_and_one_of_text_end_it_too(door: Door) -> None:
    for send in (
        lambda socket: socket.send_bytes(bytes(FRAME_BYTES_MAX + 1)),
        lambda socket: socket.send_str("hello"),
    ):
        async with door.stream() as socket:
            await send(socket)
            while (message := await said(socket)) is not None:
                assert isinstance(message, LeadGoodbye)
    await works(door)


async def test_a_silent_connection_ends_and_a_second_hello_is_refused(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door.stream() as socket:
        await socket.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
        assert isinstance(await said(socket), LeadWelcome)
        await socket.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
        assert isinstance(await said(socket), LeadGoodbye)
    monkeypatch.setattr("agents.members.endpoint.HELLO_S", 0.1)
    async with door.stream() as socket:
        assert await said(socket) is None


def test_what_exceeds_a_bound_cannot_be_written_either() -> None:
    groups = tuple(
        GroupAsk(GroupId(f"g{n}"), MemberPhase.DOWN, Epoch(0), Epoch(0), Epoch(0), ("x" * 500,) * 4) for n in range(99)
    )
    with pytest.raises(FrameRefused):
        MEMBER_MESSAGES.encode(MemberAsk(Nonce(bytes(16)), groups))
