"""The escrow's part of an agent's stream: puts become commands, sealed keys follow the answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from http_witness import SHOP, Agent, Pki, nonce, serve

from proto.commands import PutEscrow
from proto.decisions import Reason
from proto.license import EscrowItem, EscrowVersion, SealedKey
from proto.messages import (
    EscrowPut,
    EscrowPutAnswer,
    EscrowValue,
    Goodbye,
    GoodbyeCode,
    GroupHeartbeat,
    Heartbeat,
    HeartbeatAnswer,
    Ping,
    Pong,
)
from proto.units import Claim, Epoch, GroupId, LicenseName, Nonce, SiteId, WallMs
from witness.core.effects import Outcome

NO_CLAIM = Claim(bytes(16))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


SEALED = SealedKey(EscrowVersion(Epoch(4), 2), "0a1b2c3d", b"n" * 12, b"b" * 40)
KEY = LicenseName("fingerprint")


def put(agent: Agent, token: Nonce, *, site: str = "dc-a", group: str = SHOP) -> EscrowPut:
    return EscrowPut(SiteId(site), agent.incarnation, GroupId(group), NO_CLAIM, KEY, SEALED, token)


async def test_a_put_becomes_a_command_and_its_outcome_says_what_is_stored(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        running.cluster.level = 2
        await agent.hello()
        running.cluster.outcome = Outcome(Reason.ESCROW_CONFLICT, stored=EscrowVersion(Epoch(4), 2), version_next=3)
        token = nonce()
        await agent.say(put(agent, token))
        said = EscrowPutAnswer(token, SHOP, KEY, Reason.ESCROW_CONFLICT, EscrowVersion(Epoch(4), 2), 3)
        assert await agent.hear() == said
        command = PutEscrow(SHOP, SiteId("dc-a"), agent.incarnation, NO_CLAIM, KEY, SEALED)
        assert running.cluster.commands == [command]
        running.cluster.outcome = Outcome(Reason.NO_QUORUM)
        await agent.say(put(agent, nonce()))
        await agent.say(Ping(token))
        assert await agent.hear() == Pong(token, True, True), "what nobody knows is not answered"


@pytest.mark.parametrize("wrong", [{"site": "dc-b"}, {"group": "mail"}])
async def test_a_put_for_another_site_or_group_ends_the_stream(pki: Pki, wrong: dict[str, str]) -> None:
    async with serve(pki) as running, running.agent() as agent:
        running.cluster.level = 2
        await agent.hello()
        await agent.say(put(agent, nonce(), **wrong))
        said = await agent.hear()
        assert isinstance(said, Goodbye)
        assert said.code is GoodbyeCode.WRONG_IDENTITY
        assert running.cluster.commands == []


async def test_a_sealed_key_follows_the_answer_to_an_agent_that_can_read_it(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello(features=2)
        value = EscrowValue(SHOP, EscrowItem(KEY, SEALED))
        running.cluster.outcome = replace(Outcome(Reason.OK), values=(value,))
        entry = GroupHeartbeat(SHOP, Epoch(0), NO_CLAIM, 0, b"report")
        message = Heartbeat(SiteId("dc-a"), agent.incarnation, 1, nonce(), WallMs(1), (entry,))
        await agent.say(message)
        assert await agent.hear() == HeartbeatAnswer(message.nonce, ())
        assert await agent.hear() == value
