"""When a site's streams go through another site's agent, and when it carries another one's (agents/core/relay.py)."""

from __future__ import annotations

import pytest
from agent_rig import TTL_MS, W1, W2, W3, AgentRig

from agents.core.effects import KeepRelays, Send
from agents.core.relay import KEEP_NS
from agents.core.streams import Route
from agents.core.view import agent_view
from proto.health import SiteState
from proto.messages import Heartbeat, Pong
from proto.timing import ANSWER_WAIT_MS_MIN, renew_interval_ms
from proto.units import NS_PER_MS, SiteId, WitnessId

B = SiteId("dc-b")


def rig() -> AgentRig:
    one = AgentRig(peers=(B,))
    for group in one.agent.groups.values():
        group.given.tell(None)
    return one


def wanted(one: AgentRig) -> list[tuple[str, ...]]:
    return [effect.witnesses for effect in one.all_of(KeepRelays)]


def cut(one: AgentRig) -> None:
    """No witness answers any more; the streams do not know it yet."""
    for stream in one.agent.streams.open.values():
        stream.rtt_ns = 2 * NS_PER_MS
    for _ in range(3 * TTL_MS):
        if wanted(one):
            return
        one.passes(1)
    raise AssertionError("nobody is asked to carry")


def relayed(one: AgentRig) -> None:
    for witness in (W1, W2, W3):
        one.agent.stream_opened(witness, witness == W2, one.clock.read(), via=B)
        one.take()


def last_route(one: AgentRig) -> Route:
    beats = [effect for effect in one.all_of(Send) if isinstance(effect.message, Heartbeat)]
    return Route(beats[-1].witness, beats[-1].via)


def pong(one: AgentRig, witness: WitnessId, *, has_quorum: bool = True) -> None:
    pings = one.agent.streams.open[Route(witness)].pings
    one.agent.received(witness, Pong(next(reversed(pings)), leading=False, has_quorum=has_quorum), one.clock.read())
    one.take()


def test_a_cut_holder_goes_on_through_the_other_site_before_its_stop() -> None:
    one = rig().active()
    epoch, before = one.group.holder.epoch, one.group.deadlines()
    assert before is not None
    cut(one)
    assert wanted(one) == [(W1, W2, W3)]
    assert one.clock.boottime_ns < before.stop_at
    sent = len(one.sent)
    relayed(one)
    assert len(one.sent) == sent + 1, "what is trusted is used at once"
    assert last_route(one).via == B
    asked = one.clock.boottime_ns
    one.passes(20)
    one.renewed(witness=last_route(one).witness, via=B, renewal=3)
    after = one.group.deadlines()
    assert after is not None
    assert after.deadline == asked + TTL_MS * NS_PER_MS, "counted from before it was sent, as on any way"
    assert (one.state, one.group.holder.epoch) == (SiteState.ACTIVE, epoch)
    assert "renewals are carried by the agent of dc-b" in one.told
    shown = agent_view(one.agent, one.clock.read())["relay"]
    assert isinstance(shown, dict)
    assert (shown["answered_via"], shown["carries"], len(shown["streams"])) == (B, False, 3)


def test_a_site_without_peers_asks_nobody() -> None:
    one = AgentRig().active()
    one.passes(2 * TTL_MS)
    assert wanted(one) == []


def test_a_dormant_site_is_heard_through_the_other_one_too() -> None:
    one = rig().standby()
    cut(one)
    relayed(one)
    one.answer(witness=last_route(one).witness, via=B)
    assert one.agent.answered_via == B


def test_a_direct_way_that_is_back_is_taken_and_the_relay_goes_when_it_lasts() -> None:
    one = rig().active()
    cut(one)
    relayed(one)
    one.renewed(witness=last_route(one).witness, via=B, renewal=3)
    one.agent.stream_closed(W1, one.clock.read())
    one.agent.stream_opened(W1, leading=False, now=one.clock.read())
    one.take()
    assert wanted(one)[-1] == (W2, W3), "a witness keeps one stream a site: the relayed one would replace it"
    one.agent.stream_closed(W1, one.clock.read(), via=B)
    one.take()
    back = one.clock.boottime_ns
    one.renewed(one.fresh_beat(), renewal=4)
    assert one.told[-1] == "witnesses answer directly again"
    renewal = 5
    while one.agent.relays.relaying:
        assert one.clock.boottime_ns - back <= KEEP_NS + TTL_MS * NS_PER_MS
        one.renewed(one.fresh_beat(), renewal=renewal)
        assert last_route(one) == Route(W1)
        renewal += 1
    assert one.clock.boottime_ns - back >= KEEP_NS
    assert wanted(one)[-1] == ()


def test_a_direct_way_that_goes_again_at_once_finds_the_relay_still_wanted() -> None:
    one = rig().active()
    cut(one)
    one.agent.stream_opened(W1, leading=False, now=one.clock.read())
    one.take()
    assert wanted(one)[-1] == (W2, W3)
    one.agent.stream_closed(W1, one.clock.read())
    one.take()
    assert wanted(one)[-1] == (W1, W2, W3)


def test_witnesses_without_a_majority_are_reached_all_the_same() -> None:
    one = rig().standby()
    one.passes(1_000)
    seen = len(wanted(one))
    for _ in range(4):
        for witness in (W1, W2, W3):
            pong(one, witness, has_quorum=False)
        one.passes(1_001)
    assert one.agent.relays.relaying
    assert wanted(one)[seen:] in ([], [()]), "another site would reach the same"


@pytest.mark.parametrize("via", [None, B])
def test_who_hears_the_witnesses_itself_carries_a_little_longer_than_it_gives_no_holds(via: SiteId | None) -> None:
    one = rig()

    def stands() -> tuple[bool, bool]:
        now = one.clock.read()
        return one.agent.hears(now), one.agent.carries(now)

    assert stands() == (False, False)
    one.fresh_beat()
    if via is not None:
        one.agent.stream_opened(W1, leading=False, now=one.clock.read(), via=via)
        for witness in (W1, W2, W3):
            one.agent.stream_closed(witness, one.clock.read())
        one.take()
        one.fresh_beat()
    one.answer(via=via)
    direct = via is None
    assert stands() == (direct, direct), "no chain of relays"
    one.clock.advance(renew_interval_ms(TTL_MS) * NS_PER_MS)
    assert stands() == (direct, direct)
    one.clock.advance(ANSWER_WAIT_MS_MIN * NS_PER_MS + NS_PER_MS)
    assert stands() == (False, direct)
    one.clock.advance(renew_interval_ms(TTL_MS) * NS_PER_MS)
    assert stands() == (False, False)


def test_a_site_whose_witnesses_lost_their_majority_hears_none() -> None:
    one = rig().standby()
    one.passes(1_000)
    one.answer(one.fresh_beat())
    assert one.agent.hears(one.clock.read())
    for witness in (W1, W2, W3):
        pong(one, witness, has_quorum=False)
    assert not one.agent.hears(one.clock.read())


def test_another_incarnation_has_heard_nobody_yet() -> None:
    one = rig().standby()
    assert one.agent.carries(one.clock.read())
    one.agent.machine_changed("copied", one.clock.read())
    assert not one.agent.carries(one.clock.read())
