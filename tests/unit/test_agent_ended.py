"""An agent names the incarnations that ended before its own, and is heard again after the late word of one of them."""

from __future__ import annotations

import pytest
from agent_rig import W1, AgentRig, G

from agents.core.effects import NoteIncarnation, ReopenStreams
from agents.core.ended import NAMED_HEARTBEATS, EndedIncarnations, ended_before
from agents.core.group import SECOND_AGENT
from proto.decisions import Reason
from proto.limits import ENDED_NAMED_MAX
from proto.messages import Heartbeat, Ping, Pong, Verdict
from proto.units import NS_PER_MS, Incarnation

ENDED = tuple(Incarnation(bytes([number]) * 16) for number in range(1, ENDED_NAMED_MAX + 2))


def level_2(rig: AgentRig) -> AgentRig:
    """Every witness says that its cluster works at feature level 2."""
    rig.passes(1_100)
    for effect in [one for one in rig.effects if isinstance(getattr(one, "message", None), Ping)]:
        pong = Pong(effect.message.nonce, effect.witness == W1, True, 2)
        rig.agent.received(effect.witness, pong, rig.clock.read())
        rig.take()
    return rig


def rig_with(*ended: Incarnation) -> AgentRig:
    rig = level_2(AgentRig())
    rig.agent._ended = EndedIncarnations(ended)
    return rig.standby()


def refused(rig: AgentRig, beat: Heartbeat | None = None) -> None:
    rig.answer(beat, verdict=Verdict.REFUSED, reason=Reason.INCARNATION_SUPERSEDED)


def test_only_those_before_it_are_named_and_the_newest_when_there_are_many():
    assert ended_before(ENDED[2], ENDED) == ENDED[:2]
    assert ended_before(Incarnation(b"x" * 16), ENDED) == ENDED
    assert EndedIncarnations(ENDED).named(2, superseded=False) == ENDED[1:]


def test_nobody_is_named_to_witnesses_that_cannot_read_it():
    assert EndedIncarnations(ENDED).named(1, superseded=True) == ()
    assert AgentRig().standby().fresh_beat().ended == ()


def test_the_first_heartbeats_name_them_and_later_ones_do_not():
    names = EndedIncarnations(ENDED[:1])
    assert {names.named(2, superseded=False) for _ in range(NAMED_HEARTBEATS)} == {ENDED[:1]}
    assert names.named(2, superseded=False) == ()
    assert names.named(2, superseded=True) == ENDED[:1]
    assert rig_with(*ENDED[:2]).beat.ended == ENDED[:2]


def test_an_incarnation_that_begins_in_the_process_is_on_disk_before_it_speaks_and_names_the_one_before():
    rig = rig_with(ENDED[0])
    former, count = rig.agent.incarnation, len(rig.sent)
    rig.clock.wall_ns += 10**13
    rig.agent.tick(rig.clock.read())
    effects = rig.agent.take_effects()
    (note,) = (one for one in effects if isinstance(one, NoteIncarnation))
    assert any(isinstance(one, ReopenStreams) for one in effects)
    assert note.incarnation == rig.agent.incarnation != former
    rig._open_streams()
    rig.passes(5_000)
    assert len(rig.sent) == count, "it is not on disk yet"
    rig.agent.incarnation_noted(former, rig.clock.read())
    rig.passes(2_000)
    assert len(rig.sent) == count, "another one is"
    rig.agent.incarnation_noted(note.incarnation, rig.clock.read())
    rig.take()
    assert rig.beat.incarnation == note.incarnation
    level_2(rig)
    assert rig.fresh_beat().ended == (ENDED[0], former)


def test_who_was_superseded_by_the_word_of_an_ended_one_begins_anew_once_it_is_heard():
    rig = rig_with(ENDED[0])
    before = rig.agent.incarnation
    rig.fresh_beat()
    refused(rig)
    assert (rig.group.superseded, rig.group.trouble) == (True, SECOND_AGENT)
    assert rig.fresh_beat().ended == ENDED[:1]
    rig.answer()
    assert (rig.group.superseded, rig.group.trouble) == (False, "")
    assert rig.agent.incarnation != before
    assert "is heard again" in rig.told[-1]
    level_2(rig)
    assert rig.fresh_beat().ended == (ENDED[0], before)


def test_an_answer_to_what_was_sent_before_it_knew_gives_nothing_back():
    rig = rig_with(ENDED[0])
    before, first = rig.agent.incarnation, rig.fresh_beat()
    rig.clock.advance(200 * NS_PER_MS)
    second = rig.fresh_beat()
    refused(rig, first)
    rig.answer(second)
    assert rig.group.superseded
    refused(rig, rig.fresh_beat())
    assert (rig.group.superseded, rig.agent.incarnation) == (True, before)


@pytest.mark.parametrize("reason", [Reason.STALE_HEARTBEAT, Reason.INCARNATION_SUPERSEDED])
def test_a_word_that_does_not_count_gives_nothing_back(reason):
    rig = rig_with(ENDED[0])
    rig.fresh_beat()
    refused(rig)
    sent = rig.fresh_beat()
    rig.fresh_beat()
    rig.answer(sent, verdict=Verdict.REFUSED, reason=reason)
    assert rig.agent.groups[G].superseded
