"""The agents' stream over real TLS: who is let in, what is answered, and that bad frames concern nobody else."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
from collections.abc import Callable

import pytest
from http_witness import ANSWER_S, SHOP, Agent, Pki, Running, nonce, serve

from proto.codec import AGENT_MESSAGES
from proto.commands import ReleaseLease
from proto.decisions import Reason
from proto.errors import ThirdsiteError
from proto.features import FEATURE_FIRST, FEATURE_MAX
from proto.limits import FRAME_BYTES_MAX
from proto.messages import (
    Goodbye,
    GoodbyeCode,
    GroupAnswer,
    GroupHeartbeat,
    Heartbeat,
    HeartbeatAnswer,
    Notice,
    NoticeKind,
    Ping,
    Pong,
    Release,
    ReleaseAnswer,
    ReleaseKind,
    RevokePhase,
    Verdict,
    Welcome,
)
from proto.units import NS_PER_S, Claim, ClusterId, Epoch, GroupId, Incarnation, RenewalNo, SiteId, WallMs
from witness.core.effects import Outcome
from witness.http.app import say_goodbye
from witness.settings import LimitSettings

NO_CLAIM = Claim(bytes(16))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def beat(agent: Agent, seq: int = 1, group: str = SHOP, site: str = "dc-a") -> Heartbeat:
    entry = GroupHeartbeat(GroupId(group), Epoch(0), NO_CLAIM, 0, b"report")
    return Heartbeat(SiteId(site), agent.incarnation, seq, nonce(), WallMs(1), (entry,))


def answers(reason: Reason = Reason.OK) -> Outcome:
    entry = GroupAnswer(SHOP, Verdict.RENEWED, Epoch(3), RenewalNo(9), 3_000, 10_000, 0, RevokePhase.NONE, 1, reason)
    return Outcome(reason, answers=(entry,))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(ANSWER_S):
        while not condition():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.01)


async def test_hello_is_welcomed_and_heartbeats_are_answered_as_they_were_committed(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        assert await agent.hello() == Welcome("w1", pki.cluster, True)
        running.cluster.outcome = answers()
        message = beat(agent)
        await agent.say(message)
        assert await agent.hear() == HeartbeatAnswer(message.nonce, answers().answers)
        assert running.cluster.frames == [AGENT_MESSAGES.encode(message)]


async def test_pings_are_answered_with_the_place_of_the_witness(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()
        running.cluster.quorum = False
        token = nonce()
        await agent.say(Ping(token))
        assert await agent.hear() == Pong(token, True, False)


async def test_a_release_becomes_a_command_and_its_outcome_comes_back(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()
        token, claim = nonce(), Claim(os.urandom(16))
        kind = ReleaseKind.ACTIVATION_FAILED
        await agent.say(Release(SiteId("dc-a"), agent.incarnation, SHOP, Epoch(4), claim, kind, "no disk", token))
        assert await agent.hear() == ReleaseAnswer(token, SHOP, Epoch(4), Reason.OK)
        assert running.cluster.commands == [
            ReleaseLease(SHOP, SiteId("dc-a"), agent.incarnation, Epoch(4), claim, kind, "no disk")
        ]


@pytest.mark.parametrize("reason", [Reason.NO_QUORUM, Reason.OUTCOME_UNKNOWN])
async def test_what_nobody_knows_is_not_answered(pki: Pki, reason: Reason) -> None:
    """An agent takes any ReleaseAnswer as the end of its release: silence makes it ask again."""
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()
        running.cluster.outcome = Outcome(reason)
        await agent.say(beat(agent))
        release = (SiteId("dc-a"), agent.incarnation, SHOP, Epoch(4), NO_CLAIM, ReleaseKind.CLEAN, "", nonce())
        await agent.say(Release(*release))
        token = nonce()
        await agent.say(Ping(token))
        assert await agent.hear() == Pong(token, True, True)


async def test_notices_reach_the_stream_of_their_site(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()
        notice = Notice(SHOP, NoticeKind.GRANTED, Epoch(5))
        running.services.streams.push(SiteId("dc-b"), notice)
        running.services.streams.push(SiteId("dc-a"), Notice(GroupId("other"), NoticeKind.GRANTED, Epoch(1)))
        running.services.streams.push(SiteId("dc-a"), notice)
        assert await agent.hear() == notice


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"cluster": ClusterId("f" * 32)}, GoodbyeCode.WRONG_CLUSTER, "the agent is bound to ffff"),
        ({"site": SiteId("dc-b")}, GoodbyeCode.WRONG_IDENTITY, "the certificate is of site dc-a, the message of dc-b"),
        ({"groups": (SHOP, GroupId("mail"))}, GoodbyeCode.WRONG_IDENTITY, "does not name the group mail"),
    ],
)
async def test_a_hello_that_contradicts_the_certificate_is_refused(pki: Pki, changed, code, words) -> None:
    async with serve(pki) as running, running.agent() as agent:
        goodbye = await agent.hello(**changed)
        assert isinstance(goodbye, Goodbye)
        assert goodbye.code is code
        assert words in goodbye.text
        assert await agent.closed()
        assert len(running.services.streams) == 0


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"\x00", "was expected"),
        (b"", "not a frame"),
        (b"\x93\x01\x63\xc0", "unknown tag 99"),
        (b"\x00" * (FRAME_BYTES_MAX + 1), f"at most {FRAME_BYTES_MAX} are taken"),
    ],
    ids=["malformed", "empty", "unknown", "oversized"],
)
async def test_a_bad_frame_ends_its_stream_and_no_other(pki: Pki, frame: bytes, words: str) -> None:
    async with serve(pki) as running, running.agent("agent-dc-b") as other, running.agent() as agent:
        assert isinstance(await other.hello(site=SiteId("dc-b")), Welcome)
        await agent.hello()
        await agent.socket.send_bytes(frame)
        goodbye = await agent.hear()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.code is GoodbyeCode.BAD_FRAME
        assert words in goodbye.text
        assert await agent.closed()
        token = nonce()
        await other.say(Ping(token))
        assert await other.hear() == Pong(token, True, True)
        assert set(running.services.streams.silent()) == {"dc-b"}


@pytest.mark.parametrize("greeted", [True, False], ids=["later", "hello"])
async def test_an_agent_that_is_newer_than_the_cluster_is_told_what_to_upgrade(pki: Pki, greeted: bool) -> None:
    async with serve(pki) as running, running.agent() as agent:
        if greeted:
            await agent.hello()
        await agent.socket.send_bytes(b"\x93\x07\x04\xc0")
        goodbye = await agent.hear()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.code is GoodbyeCode.VERSION
        upto = FEATURE_FIRST if greeted else FEATURE_MAX
        assert f"version 7, this side speaks up to {upto}:" in goodbye.text
        assert "the witnesses are upgraded before the agents" in goodbye.text
        assert running.cluster.frames == []
        assert await agent.closed()


async def test_far_too_large_frames_are_not_even_read(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()
        await agent.socket.send_bytes(bytes(4 * FRAME_BYTES_MAX))
        assert await agent.closed()
        await until(lambda: len(running.services.streams) == 0)


async def test_text_and_a_second_hello_are_refused(pki: Pki) -> None:
    async with serve(pki) as running:
        async with running.agent() as agent:
            await agent.hello()
            await agent.socket.send_str("hello")
            assert "binary" in (await agent.hear()).text
        async with running.agent() as agent:
            await agent.hello()
            assert "said already" in (await agent.hello()).text


async def test_heartbeats_of_another_site_incarnation_or_group_end_the_stream(pki: Pki) -> None:
    async with serve(pki) as running:
        async with running.agent() as agent:
            await agent.hello()
            await agent.say(beat(agent, site="dc-b"))
            assert (await agent.hear()).code is GoodbyeCode.WRONG_IDENTITY
        async with running.agent() as agent:
            await agent.hello()
            await agent.say(beat(agent, group="mail"))
            assert (await agent.hear()).code is GoodbyeCode.WRONG_IDENTITY
        async with running.agent() as agent:
            await agent.hello()
            agent.incarnation = Incarnation(os.urandom(16))
            await agent.say(beat(agent))
            assert "incarnation" in (await agent.hear()).text
        assert running.cluster.frames == []


async def test_a_second_agent_is_refused_while_the_first_lives(pki: Pki) -> None:
    async with serve(pki) as running:
        async with running.agent() as first, running.agent() as second:
            await first.hello()
            goodbye = await second.hello()
            assert isinstance(goodbye, Goodbye)
            assert goodbye.code is GoodbyeCode.SECOND_AGENT
            token = nonce()
            await first.say(Ping(token))
            assert await first.hear() == Pong(token, True, True)
        await until(lambda: len(running.services.streams) == 0)
        async with running.agent() as third:
            assert isinstance(await third.hello(), Welcome)


async def test_the_same_incarnation_replaces_its_older_stream(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as old, running.agent() as new:
        await old.hello()
        new.incarnation = old.incarnation
        assert isinstance(await new.hello(), Welcome)
        assert "new stream" in (await old.hear()).text
        assert await old.closed()
        notice = Notice(SHOP, NoticeKind.CHANGED, Epoch(5))
        running.services.streams.push(SiteId("dc-a"), notice)
        assert await new.hear() == notice


async def test_a_dead_end_is_noticed_within_seconds(pki: Pki) -> None:
    """The agent's end stays open but answers no ping, like a stopped process."""
    async with serve(pki) as running, running.agent(autoping=False) as frozen:
        await frozen.hello()
        assert len(running.services.streams) == 1
        await until(lambda: len(running.services.streams) == 0)


async def test_a_silent_agent_is_swept_away(pki: Pki) -> None:
    async with serve(pki, LimitSettings(idle_timeout_ms=0)) as running, running.agent() as agent:
        await agent.hello()
        running.services.streams.sweep()
        assert "nothing was heard" in (await agent.hear()).text


async def test_answers_pending_are_bounded_and_pings_go_on(pki: Pki) -> None:
    async with serve(pki, LimitSettings(answers_pending_max=4)) as running, running.agent() as agent:
        await agent.hello()
        running.cluster.hold_answers = True
        for seq in range(10):
            await agent.say(beat(agent, seq))
        token = nonce()
        await agent.say(Ping(token))
        assert await agent.hear() == Pong(token, True, True)
        assert len(running.cluster.frames) == 4
        running.cluster.unanswered[0](answers())
        assert isinstance(await agent.hear(), HeartbeatAnswer)
        await agent.say(beat(agent, 11))
        await until(lambda: len(running.cluster.frames) == 5)


async def test_what_an_agent_that_left_had_asked_for_is_taken_back(pki: Pki) -> None:
    async with serve(pki) as running:
        running.cluster.hold_answers = True
        async with running.agent() as agent:
            await agent.hello()
            await agent.say(beat(agent, 1))
            await until(lambda: len(running.cluster.speakers) == 1)
            assert running.cluster.withdrawn == []
        await until(lambda: len(running.cluster.withdrawn) == 1)
        assert running.cluster.withdrawn == running.cluster.speakers


async def test_an_overloaded_node_drops_heartbeats_and_keeps_the_stream(pki: Pki, monkeypatch) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()

        def overloaded(*_: object) -> None:
            raise ThirdsiteError("4096 commands wait already")

        monkeypatch.setattr(running.cluster, "heartbeat", overloaded)
        await agent.say(beat(agent))
        token = nonce()
        await agent.say(Ping(token))
        assert await agent.hear() == Pong(token, True, True)


async def test_a_fast_agent_is_read_at_its_rate(pki: Pki) -> None:
    """40 frames of burst at 20 a second, then it waits: 50 frames take half a second of the server's clock."""
    limits = LimitSettings(frames_per_s=20)
    async with serve(pki, limits) as running, running.agent() as agent:
        await agent.hello()
        clock = running.services.clock
        begun = clock.now()
        for seq in range(50):
            await agent.say(beat(agent, seq))
        await until(lambda: len(running.cluster.frames) == 50)
        assert clock.now() - begun >= 0.4 * NS_PER_S


async def test_streams_are_bounded(pki: Pki) -> None:
    limits = LimitSettings(streams_max=1)
    async with serve(pki, limits) as running, running.agent() as agent, running.agent("agent-dc-b") as other:
        await agent.hello()
        goodbye = await other.hello(site=SiteId("dc-b"))
        assert isinstance(goodbye, Goodbye)
        assert goodbye.code is GoodbyeCode.OVERLOADED


async def test_a_stopping_witness_says_goodbye(pki: Pki) -> None:
    async with serve(pki) as running, running.agent() as agent:
        await agent.hello()
        stopping = asyncio.create_task(say_goodbye(running.services))
        assert (await agent.hear()).code is GoodbyeCode.STOPPING
        assert await agent.closed()
        await stopping
        async with running.agent() as late:
            assert (await late.hello()).code is GoodbyeCode.STOPPING


async def test_operators_have_no_stream_and_nagle_is_off(pki: Pki) -> None:
    async with serve(pki) as running:
        async with running.session("operator-admin") as session, session.get("/v1/agent") as got:
            assert got.status == 403
            assert (await got.json())["reason"] == "role-required"
        async with running.agent() as agent:
            await agent.hello()
            raw = _server_socket(running)
            assert raw.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY) != 0


def _server_socket(running: Running) -> sockets.socket:
    stream = running.services.streams._streams[SiteId("dc-a")]
    return stream._socket._req.transport.get_extra_info("socket")
