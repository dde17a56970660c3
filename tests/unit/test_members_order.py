"""Which ends of a member's epoch are in order, so that its site releases without the lock delay."""

from __future__ import annotations

from member_rig import BUDGETS, TTL_MS, Pair

from proto.member_messages import MemberPhase, Order


def test_an_end_is_in_order_only_at_the_leads_word():
    """The lead's steps are what gives a license back; a member that ends alone has run none of them."""
    ordered = Pair().holding()
    ordered.lead.book.end(Order.STOP, 1_000)
    ordered.talk()
    assert ordered.lead.book.orderly()

    cut_off = Pair().holding()
    cut_off.passes(TTL_MS - BUDGETS.kill_budget_ms - 1)
    assert cut_off.member.group.phase is MemberPhase.DOWN, "its guard's first rung was enough"
    cut_off.lead.book.end(Order.STOP, 1_000)
    cut_off.talk()
    assert not cut_off.lead.may_hold(cut_off.true_ns)
    assert not cut_off.lead.book.orderly()

    closed = Pair().holding()
    closed.member.core.shutdown(closed.member.clock.read(closed.true_ns))
    closed.passes(1)
    closed.lead.book.end(Order.STOP, 1_000)
    closed.talk()
    assert not closed.lead.book.orderly()
