"""Whatever the network, the clocks and both processes do: a member never outlasts its lead, nor a "verified down"."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from member_rig import DRIFT_PPM, Pair

from proto.member_messages import Order
from proto.units import NS_PER_MS

ACTIONS = (
    "pass",
    "hint",
    "talk",
    "sleep",
    "renew",
    "ask",
    "ask-again",
    "answer",
    "answer-again",
    "end",
    "lead",
    "lead-warm",
    "member",
    "copy",
    "changed",
    "stuck",
    "lead-clock",
)
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 400), st.integers(0, 5)), max_size=60)
RATES = st.sampled_from((-DRIFT_PPM, -3_000, 0, 3_000, DRIFT_PPM))


def act(pair: Pair, action: str, ms: int, index: int) -> None:
    lead = pair.lead
    if action in ("pass", "sleep"):
        pair.passes(ms, ticks=action == "pass")
    elif action == "hint":
        pair.ask_now()
    elif action == "talk":
        pair.talk(1)
    elif action == "renew":
        renew_or_begin(pair)
    elif action.startswith("ask") and pair.asks:
        pair.take_ask(index % len(pair.asks), keep=action == "ask-again")
    elif action.startswith("answer") and pair.answers:
        pair.take_answer(index % len(pair.answers), keep=action == "answer-again")
    elif action == "end":
        lead.book.end(Order.FENCE if index % 2 else Order.STOP, grace_ms=50)
    elif action == "lead-clock":
        lead.clock.boot_off_ns, lead.clock.raw_off_ns = (
            (ms - 200) * one * NS_PER_MS for one in (index % 2, 1 - index % 2)
        )
    elif action.startswith("lead"):
        lead.restart(pair.true_ns, warm=action == "lead-warm")
    elif action == "copy":
        pair.copied()
    elif action == "changed":
        one = pair.members()[index % len(pair.members())]
        one.core.machine_changed("copied", one.clock.read(pair.true_ns))
        one.perform(pair.true_ns)
        pair.collect()
    elif action == "member":
        pair.member.restart(pair.true_ns)
        pair.collect()
    elif action == "stuck":
        pair.member.stuck = index % 2 == 0


def renew_or_begin(pair: Pair) -> None:
    """As a lead does: it renews what it holds, and begins the next epoch only when everything is verified down."""
    lead = pair.lead
    if lead.giving and lead.authority.alive(lead.clock.read(pair.true_ns)):
        pair.renew()
    elif lead.giving:
        lead.book.end(Order.FENCE)
    elif not lead.may_hold(pair.true_ns):
        pair.renew(lead.epoch + 1)


@settings(max_examples=300, deadline=None)
@given(RATES, RATES, STEPS)
def test_no_member_outlasts_its_lead(lead_ppm, member_ppm, steps):
    pair = Pair(lead_ppm, member_ppm)
    pair.renew(1)
    for action, ms, index in steps:
        act(pair, action, ms, index)
        pair.check()
    pair.passes(3_000)
    assert not any(one.runs(pair.true_ns) for one in pair.members())
    assert not pair.lead.may_hold(pair.true_ns)


@settings(max_examples=100, deadline=None)
@given(RATES, RATES, st.integers(0, 900), st.integers(0, 900))
def test_the_kernels_deadline_of_a_member_is_within_its_leads(lead_ppm, member_ppm, ask_ms, answer_ms):
    """The whole chain of delays, without a process that acts: only what the guards were armed with counts."""
    pair = Pair(lead_ppm, member_ppm)
    pair.passes(20)
    pair.renew(1)
    pair.member.tick(pair.true_ns)
    pair.collect()
    pair.passes(ask_ms, ticks=False)
    for _ in range(len(pair.asks)):
        pair.take_ask()
    pair.passes(answer_ms, ticks=False)
    while pair.answers:
        pair.take_answer()
    for _epoch, deadline in pair.member.armed:
        assert pair.member.clock.true_of(deadline) <= pair.latest_lead_end
