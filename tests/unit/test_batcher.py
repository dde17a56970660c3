"""Group commit: one entry in flight, everything that waited in the next one, own entries recognised by the session."""

from __future__ import annotations

import pytest
from core_rig import AUTHOR, SESSION, A, G, W, entry, frame

from proto import codec, limits
from proto.commands import Author, HeartbeatFrame, SetMode
from proto.groups import Mode
from proto.units import InstantNs, WallMs
from witness.core.batcher import Batcher, Overloaded

NOW = InstantNs(1_000)
COMMAND = SetMode(G, Mode.MANUAL, AUTHOR)


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(W[0], SESSION)


def take(batcher: Batcher, now: int = NOW):
    data = batcher.take_entry(InstantNs(now), WallMs(5))
    return None if data is None else codec.decode_entry(data)


def test_while_one_is_in_flight_the_rest_collects(batcher):
    assert take(batcher) is None
    first = batcher.add(COMMAND, NOW)
    entry_one = take(batcher)
    assert (entry_one.proposer, entry_one.session, entry_one.number) == (W[0], SESSION, 1)
    others = [batcher.add(COMMAND, NOW) for _ in range(3)]
    assert take(batcher) is None
    assert batcher.committed(entry_one) == (first,)
    entry_two = take(batcher)
    assert len(entry_two.commands) == 3
    assert batcher.committed(entry_two) == tuple(others)
    assert batcher.committed(entry_two) == ()


@pytest.mark.parametrize(("proposer", "session"), [(W[1], SESSION), (W[0], b"t" * 16)])
def test_entries_of_others_resolve_nothing(batcher, proposer, session):
    batcher.add(COMMAND, NOW)
    data = take(batcher)
    foreign = type(data)(proposer, session, data.number, data.wall_ms, data.commands)
    assert batcher.committed(foreign) == ()
    assert take(batcher) is None


def test_an_entry_that_may_be_lost_makes_room_and_still_counts_when_it_turns_up(batcher):
    first = batcher.add(COMMAND, NOW)
    lost = take(batcher)
    second = batcher.add(COMMAND, NOW)
    batcher.lost()
    following = take(batcher)
    assert following.number == lost.number + 1
    assert batcher.committed(lost) == (first,)
    assert take(batcher) is None
    assert batcher.committed(following) == (second,)


def test_an_entry_not_seen_for_long_is_taken_as_lost(batcher):
    batcher.add(COMMAND, NOW)
    take(batcher)
    batcher.add(COMMAND, NOW)
    assert batcher.next_deadline() == NOW + limits.ENTRY_IN_FLIGHT_MAX_NS
    assert take(batcher, NOW + limits.ENTRY_IN_FLIGHT_MAX_NS - 1) is None
    assert take(batcher, NOW + limits.ENTRY_IN_FLIGHT_MAX_NS) is not None


def test_requests_that_waited_too_long_are_given_up_once_and_never_proposed(batcher):
    proposed = batcher.add(COMMAND, NOW)
    entry_one = take(batcher)
    waiting = batcher.add(COMMAND, NOW)
    late = NOW + limits.PROPOSAL_TIMEOUT_NS
    assert batcher.overdue(InstantNs(late - 1)) == []
    assert batcher.overdue(InstantNs(late)) == [(proposed, True), (waiting, False)]
    assert batcher.overdue(InstantNs(late)) == []
    batcher.lost()
    assert take(batcher, late) is None
    assert batcher.committed(entry_one) == ()


def test_more_than_fits_is_refused_and_nothing_is_taken(batcher):
    for _ in range(limits.COMMANDS_PENDING_MAX):
        batcher.add(COMMAND, NOW)
    with pytest.raises(Overloaded):
        batcher.add(COMMAND, NOW)
    assert len(take(batcher).commands) == limits.ENTRY_COMMANDS_MAX


def test_what_no_replica_could_read_is_never_proposed(batcher):
    for bad in (
        HeartbeatFrame(b"x" * (limits.COMMAND_BYTES_MAX + 1)),
        SetMode(G, Mode.MANUAL, Author("x" * (limits.TEXT_CHARS_MAX + 1), "")),
        SetMode(G, Mode.MANUAL, Author("\ud800", "")),
    ):
        with pytest.raises(Overloaded):
            batcher.add(bad, NOW)
    assert take(batcher) is None


def test_large_commands_are_split_over_entries_below_the_limit(batcher):
    for _ in range(5):
        batcher.add(HeartbeatFrame(b"x" * 100_000), NOW)
    counts = []
    while (data := batcher.take_entry(NOW, WallMs(1))) is not None:
        assert len(data) <= limits.ENTRY_BYTES_MAX
        taken = codec.decode_entry(data)
        counts.append(len(taken.commands))
        batcher.committed(taken)
    assert counts == [2, 2, 1]


def test_a_heartbeat_that_waited_out_is_not_proposed_but_other_commands_are(batcher):
    batcher.add(frame(A, entry()), NOW)
    batcher.add(COMMAND, NOW)
    taken = take(batcher, NOW + limits.HEARTBEAT_PENDING_MAX_NS + 1)
    assert taken.commands == (COMMAND,)


def test_a_request_is_taken_back_until_it_is_proposed(batcher):
    first, second = batcher.add(COMMAND, NOW), batcher.add(COMMAND, NOW)
    assert batcher.withdraw(second)
    assert not batcher.withdraw(second)
    taken = take(batcher)
    assert len(taken.commands) == 1
    assert not batcher.withdraw(first), "it may be applied"
    assert batcher.committed(taken) == (first,)
    assert batcher.overdue(InstantNs(NOW + limits.PROPOSAL_TIMEOUT_NS)) == []


def test_heartbeats_that_waited_out_make_room_for_what_must_not_wait(batcher):
    for _ in range(limits.COMMANDS_PENDING_MAX):
        batcher.add(frame(A, entry()), NOW)
    with pytest.raises(Overloaded):
        batcher.add(COMMAND, NOW)
    later = InstantNs(NOW + limits.HEARTBEAT_PENDING_MAX_NS + 1)
    batcher.add(COMMAND, later)
    assert take(batcher, later).commands == (COMMAND,)
