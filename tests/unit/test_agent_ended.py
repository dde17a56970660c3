"""An agent names the incarnations that ended before its own, and begins anew after the late word of one of them."""

from __future__ import annotations

import pytest
from agent_rig import W1, AgentRig, G

from agents.core.effects import NoteIncarnation
from agents.core.ended import BEGUN_KEPT_MAX, NAMED_HEARTBEATS, NOTE_WAIT_NS, EndedIncarnations, ended_before
from agents.core.group import SECOND_AGENT
from proto.decisions import Reason
from proto.health import SiteState
from proto.limits import ENDED_NAMED_MAX
from proto.messages import Ping, Pong, Verdict
from proto.units import NS_PER_S, Incarnation, InstantNs

BEGUN = tuple(Incarnation(bytes([number]) * 16) for number in range(1, BEGUN_KEPT_MAX + 1))
NEW = Incarnation(b"n" * 16)
NOW = InstantNs(1_000 * NS_PER_S)


def level_2(rig: AgentRig) -> AgentRig:
    """Every witness says that its cluster works at feature level 2."""
    rig.passes(1_100)
    for effect in [one for one in rig.effects if isinstance(getattr(one, "message", None), Ping)]:
        pong = Pong(effect.message.nonce, effect.witness == W1, True, 2)
        rig.agent.received(effect.witness, pong, rig.clock.read())
        rig.take()
    return rig


def rig_with(*begun: Incarnation) -> AgentRig:
    return level_2(AgentRig(begun=begun)).standby()


def refused(rig: AgentRig, reason: Reason) -> None:
    rig.answer(verdict=Verdict.REFUSED, reason=reason)


# -- names --------------------------------------------------------------------------------------------------


def test_only_those_before_it_are_named_and_the_newest_when_there_are_many():
    assert ended_before(BEGUN[2], BEGUN) == BEGUN[:2]
    assert ended_before(NEW, BEGUN) == BEGUN
    assert EndedIncarnations(NEW, BEGUN, spoke=False).named(2) == BEGUN[-ENDED_NAMED_MAX:]
    assert EndedIncarnations(BEGUN[1], BEGUN[:2], spoke=True).named(2) == BEGUN[:1]


def test_nobody_is_named_to_witnesses_that_cannot_read_it():
    assert EndedIncarnations(NEW, BEGUN, spoke=False).named(1) == ()
    assert AgentRig(begun=BEGUN[:1]).standby().fresh_beat().ended == ()


def test_they_are_named_until_so_many_heartbeats_were_answered_and_counted():
    rig = rig_with(*BEGUN[:2])
    for _ in range(NAMED_HEARTBEATS + 5):
        assert rig.fresh_beat().ended == BEGUN[:2], "nothing was answered"
    for _ in range(3 * NAMED_HEARTBEATS):
        rig.answer()
        if rig.fresh_beat().ended == ():
            break
    assert rig.beat.ended == ()


# -- on disk before it speaks ---------------------------------------------------------------------------------


def test_it_is_noted_when_there_is_somebody_to_speak_to_and_once():
    ended = EndedIncarnations(NEW, BEGUN, spoke=False)
    assert not ended.may_speak
    assert [ended.to_note(NOW), ended.to_note(NOW), ended.may_speak] == [True, False, False]
    ended.noted()
    assert [ended.may_speak, ended.to_note(NOW)] == [True, False]
    assert len(AgentRig().all_of(NoteIncarnation)) == 1
    assert AgentRig(streams=0).all_of(NoteIncarnation) == []


def test_a_process_that_goes_on_as_it_speaks_at_once_and_is_noted_where_it_was_not():
    """By an earlier version."""
    known = EndedIncarnations(BEGUN[-1], BEGUN, spoke=True)
    assert [known.may_speak, known.to_note(NOW)] == [True, False]
    unknown = EndedIncarnations(NEW, (), spoke=True)
    assert [unknown.may_speak, unknown.to_note(NOW)] == [True, True]


def test_an_incarnation_that_begins_in_the_process_is_on_disk_before_it_speaks_and_names_the_one_before():
    rig = rig_with(BEGUN[0])
    former, count = rig.agent.incarnation, len(rig.sent)
    rig.notes = False
    rig.clock.wall_ns += 10**13
    rig.agent.tick(rig.clock.read())
    rig.take()
    assert rig.last(NoteIncarnation).incarnation == rig.agent.incarnation != former
    rig.passes(NOTE_WAIT_NS // 10**6 - 1_500)
    assert len(rig.sent) == count, "it is not on disk yet"
    rig.agent.incarnation_noted(former, rig.clock.read())
    rig.passes(1_000)
    assert len(rig.sent) == count, "another one is"
    rig.agent.incarnation_noted(rig.agent.incarnation, rig.clock.read())
    rig.take()
    assert rig.beat.incarnation == rig.agent.incarnation
    level_2(rig)
    assert rig.fresh_beat().ended == (BEGUN[0], former)


def test_where_the_disk_hangs_it_speaks_after_a_while_and_says_so_once():
    rig = AgentRig(begun=BEGUN[:1], notes=False)
    rig.passes(NOTE_WAIT_NS // 10**6 - 100)
    assert rig.sent == []
    rig.passes(5_000)
    assert len(rig.sent) > 2
    assert [text for text in rig.told if "cannot be noted" in text] == [rig.told[-1]]


# -- a late word came in between ---------------------------------------------------------------------------------


def test_who_was_superseded_by_one_that_had_ended_begins_anew():
    rig = rig_with(BEGUN[0])
    before = rig.agent.incarnation
    assert rig.fresh_beat().ended == BEGUN[:1]
    refused(rig, Reason.SUPERSEDED_BY_ENDED)
    assert rig.agent.incarnation != before
    assert (rig.group.superseded, rig.group.trouble, rig.state) == (False, "", SiteState.STANDBY)
    assert "a late word" in rig.told[-1]
    level_2(rig)
    assert rig.fresh_beat().ended == (BEGUN[0], before)


@pytest.mark.parametrize("stored", [False, True], ids=["fencing", "fenced"])
def test_an_active_one_fences_first_and_nothing_of_a_second_agent_is_left_to_be_read(stored: bool):
    """It was told of a second agent before its first named heartbeat."""
    rig = level_2(AgentRig(begun=BEGUN[:1])).active()
    rig.fresh_beat()
    refused(rig, Reason.INCARNATION_SUPERSEDED)
    assert SECOND_AGENT in rig.group.trouble
    assert rig.state is SiteState.FENCING
    if stored:
        rig.fenced()
        rig.stored()
    rig.fresh_beat()
    refused(rig, Reason.SUPERSEDED_BY_ENDED)
    if not stored:
        rig.fenced()
        rig.stored()
    assert (rig.state, rig.group.trouble, rig.group.superseded) == (SiteState.FENCED, "", False)
    assert rig.releases() == []


def test_a_second_agent_is_told_of_until_somebody_stops_one_of_the_two():
    rig = rig_with(BEGUN[0])
    before = rig.agent.incarnation
    for _ in range(5):
        rig.fresh_beat()
        refused(rig, Reason.INCARNATION_SUPERSEDED)
    assert (rig.agent.incarnation, rig.agent.groups[G].trouble) == (before, SECOND_AGENT)
    assert [text for text in rig.told if text == SECOND_AGENT] == [SECOND_AGENT]
