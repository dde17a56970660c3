"""The lead's endpoint for members in this process, and a member that speaks with it, for the tests of its door."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from free_ports import free_ports

from agents.config import parse_agent_config
from agents.core.lease_holder import LeaseHolder
from agents.members.desk import MemberDesk
from agents.members.endpoint import PATH, MemberEndpoint
from agents.settings import Endpoint
from proto.clock import SystemClock
from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate, server_context
from proto.member_codec import LEAD_MESSAGES, MEMBER_MESSAGES
from proto.member_messages import (
    MEMBER_PROTOCOL,
    GroupAsk,
    GroupOffer,
    LeadAnswer,
    LeadMessage,
    LeadWelcome,
    MemberAsk,
    MemberHello,
    MemberPhase,
)
from proto.units import ClusterId, Epoch, GroupId, MemberName, Nonce, SiteId

WAIT_S = 20.0
SITE = """
cluster: %s
site: dc-a
tls: {ca: ca, cert: cert, key: key}
state_dir: state
runtime_dir: run
witnesses: [{id: w1, address: "w1:1"}]
members_listen: "127.0.0.1:%d"
members: [{name: db1, groups: [shop]}]
groups: [{group: shop}, {group: mail}]
"""


def tls(pki: Path, name: str) -> TlsFiles:
    where = pki / name
    return TlsFiles(where / "ca.pem", where / "cert.pem", where / "key.pem")


class Door:
    def __init__(self, pki: Path, state: Path) -> None:
        self.pki = pki
        own = own_certificate(tls(pki, "agent-dc-a"))
        self.cluster = own.identity.cluster_id
        (port,) = free_ports(1)
        self.port = port
        self.url = f"https://127.0.0.1:{port}{PATH}"
        settings = dataclasses.replace(parse_agent_config(SITE % (self.cluster, port)), state_dir=state)
        self.desk = MemberDesk(
            settings,
            {GroupId("shop"): Epoch(0), GroupId("mail"): Epoch(0)},
            SystemClock(),
            lambda _group: LeaseHolder(Epoch(0), Epoch(0)),
            lambda _group: None,
            lambda work, name: asyncio.create_task(work, name=name),
        )
        context = server_context(tls(pki, "agent-dc-a"), accepting(own.identity, Role.MEMBER))
        self.endpoint = MemberEndpoint(
            self.desk, self.cluster, SiteId("dc-a"), Endpoint("127.0.0.1", port), context, SystemClock()
        )

    def context(self, name: str) -> ssl.SSLContext:
        files = tls(self.pki, name)
        accept = accepting(own_certificate(files).identity, Role.AGENT, name="dc-a")
        return client_context(files, accept, check_hostname=False)

    def hello(self, **changes: Any) -> MemberHello:
        one = MemberHello(
            MEMBER_PROTOCOL,
            SiteId("dc-a"),
            MemberName("db1"),
            ClusterId(self.cluster),
            Nonce(os.urandom(16)),
            "1",
            (GroupOffer(GroupId("shop"), ()),),
            1,
        )
        return dataclasses.replace(one, **changes)

    @contextlib.asynccontextmanager
    async def stream(self, name: str = "member-db1.dc-a") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with aiohttp.ClientSession() as session, session.ws_connect(self.url, ssl=self.context(name)) as socket:
            yield socket


async def said(socket: aiohttp.ClientWebSocketResponse) -> LeadMessage | None:
    message = await socket.receive(WAIT_S)
    return LEAD_MESSAGES.decode(message.data) if message.type is aiohttp.WSMsgType.BINARY else None


async def works(door: Door) -> None:
    """A member that behaves is welcome and answered."""
    async with door.stream() as socket:
        await socket.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
        assert await said(socket) == LeadWelcome(SiteId("dc-a"), door.cluster)
        nonce = Nonce(os.urandom(16))
        ask = GroupAsk(GroupId("shop"), MemberPhase.DOWN, Epoch(0), Epoch(0), Epoch(0), ())
        await socket.send_bytes(MEMBER_MESSAGES.encode(MemberAsk(nonce, (ask,))))
        answer = await said(socket)
        assert isinstance(answer, LeadAnswer)
        assert answer.nonce == nonce
        assert [order.group for order in answer.groups] == ["shop"]
