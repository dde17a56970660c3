"""Which end of a member is one in order, after which its lead releases without the lock delay."""

from __future__ import annotations

import pytest
from member_rig import TTL_MS, G, Pair

from proto.member_messages import Order


def test_an_end_is_orderly_only_by_the_members_word():
    pair = Pair().holding()
    pair.lead.book.end(Order.STOP, 1_000)
    assert not pair.lead.book.orderly()
    pair.talk()
    assert pair.lead.book.orderly()
    other = Pair().holding()
    other.lead.book.end(Order.STOP, 1_000)
    other.passes(2 * TTL_MS)
    assert not other.lead.may_hold(other.true_ns)
    assert not other.lead.book.orderly()


@pytest.mark.parametrize("how", ["guard-lost", "restarted", "another"])
def test_an_end_by_force_is_not_orderly_and_neither_is_another_process(how):
    """The lock delay passes before the lead releases: a license server may keep the killed session open."""
    pair = Pair().holding()
    if how == "guard-lost":
        pair.member.core.guard_lost(G, "killed", pair.member.clock.read(pair.true_ns))
        pair.member.perform(pair.true_ns)
    elif how == "restarted":
        pair.member.restart(pair.true_ns)
    else:
        pair.passes(0)
        pair.copied()
        pair.member.core.stream_closed(pair.member.clock.read(pair.true_ns))
        pair.passes(2 * TTL_MS, ticks=False)
    pair.lead.book.end(Order.STOP, 1_000)
    pair.talk()
    pair.passes(2 * TTL_MS)
    pair.talk()
    assert not pair.lead.may_hold(pair.true_ns)
    assert not pair.lead.book.orderly()


def test_a_stop_in_whose_middle_the_guard_died_is_an_end_by_force():
    """Seed 123663: proven down all the same, and the lead released without the lock delay."""
    pair = Pair().holding()
    pair.member.guard_dies = True
    pair.lead.book.end(Order.STOP, 1_000)
    pair.talk()
    assert not pair.lead.may_hold(pair.true_ns)
    assert pair.member.group.forced == pair.member.group.finished
    assert not pair.lead.book.orderly()
