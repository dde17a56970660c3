"""When the lead's two clocks part, nobody knows which one is right: a member's part fits both, and so does the wait."""

from __future__ import annotations

import pytest
from member_rig import TTL_MS, Pair

from proto.member_messages import Order
from proto.units import NS_PER_MS


@pytest.mark.parametrize("wrong", ["boot_off_ns", "raw_off_ns"])
@pytest.mark.parametrize("off_ms", [-180, 180])
def test_of_clocks_that_part_the_shorter_one_counts_for_a_member_and_the_longer_one_for_the_wait(wrong, off_ms):
    pair = Pair()
    pair.renew(7)
    pair.passes(20)
    setattr(pair.lead.clock, wrong, off_ms * NS_PER_MS)
    pair.talk(1)
    (_, until), *_ = pair.member.armed
    left_ns = pair.latest_lead_end - max(0, off_ms) * NS_PER_MS
    assert pair.member.clock.true_of(until) <= left_ns
    pair.lead.book.end(Order.STOP)
    pair.passes(TTL_MS - 40 + max(0, -off_ms), ticks=False)
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(40, ticks=False)
    assert not pair.lead.may_hold(pair.true_ns)
