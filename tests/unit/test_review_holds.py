"""Findings of the review of holds: copies in step, upgrades meanwhile, lost answers, a cluster that never tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from holds_rig import A, B, G, Site, Together

from agents.core.effects import AnswerSite, Effect
from agents.core.holds_given import HoldsGiven, Standing
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.health import SiteState
from proto.holds import NO_CHAIN, HoldMark, promise_wait
from proto.lease import LONGEST_POSSIBLE, LeaseConstants
from proto.messages import GroupAnswer, RevokePhase, Verdict
from proto.site_messages import HoldRequest, HoldVerdict
from proto.units import NS_PER_MS, Claim, Epoch, Incarnation, InstantNs, Nonce, RenewalNo, WallMs
from witness.core.decide import blockers_of
from witness.core.sight import GroupSight

TTL_MS = 3_000
CONSTANTS = LeaseConstants(TTL_MS, 10_000, 0)
DOWN = Standing(True, True, False, Epoch(1), Epoch(0), True, (A, B), False)


def at(ns: int) -> ClockReading:
    return ClockReading(InstantNs(ns), ns, WallMs(0))


def request(number: int, nonce: bytes) -> HoldRequest:
    return HoldRequest(
        nonce=Nonce(nonce * 16),
        group=G,
        site=A,
        incarnation=Incarnation(b"i" * 16),
        epoch=Epoch(2),
        claim=Claim(b"c" * 16),
        ttl_ms=TTL_MS,
        drift_max_ppm=10_000,
        lock_delay_ms=0,
        number=number,
        chain=NO_CHAIN,
        sites_version=1,
    )


def promiser(*, linked: bool = True) -> tuple[HoldsGiven, Callable[[HoldRequest], HoldVerdict]]:
    effects: list[Effect] = []
    given = HoldsGiven(G, effects.append, stored=None, cold_since=at(0), linked=linked)

    def ask(message: HoldRequest) -> HoldVerdict:
        effects.clear()
        given.asked(A, message, at(5), DOWN)
        given.promise_stored()
        return next(one.message.verdict for one in effects if isinstance(one, AnswerSite))

    return given, ask


# -- a copy of the holder that goes in step with it ---------------------------------------------------------


def test_of_two_copies_in_step_the_second_one_is_told():
    _, ask = promiser()
    assert ask(request(7, b"1")) is HoldVerdict.HELD
    assert ask(request(7, b"2")) is HoldVerdict.STALE
    assert ask(request(8, b"3")) is HoldVerdict.HELD
    assert ask(request(8, b"4")) is HoldVerdict.STALE


def test_the_same_request_may_come_twice():
    _, ask = promiser()
    assert ask(request(7, b"1")) is HoldVerdict.HELD
    assert ask(request(7, b"1")) is HoldVerdict.HELD


# -- a cluster whose witnesses never tell -------------------------------------------------------------------


def test_a_linked_site_that_is_never_told_claims_after_the_longest_lease_that_there_can_be():
    given, _ = promiser()
    longest_ns = promise_wait(LONGEST_POSSIBLE)
    assert given.next_deadline(at(0)) == longest_ns
    assert not given.may_claim(at(longest_ns - 1))
    assert given.may_claim(at(longest_ns))
    assert given.next_deadline(at(longest_ns)) is None


def test_a_linked_site_that_is_told_waits_for_what_it_was_told():
    given, _ = promiser()
    given.tell(CONSTANTS)
    assert not given.may_claim(at(promise_wait(CONSTANTS) - 1))
    assert given.may_claim(at(promise_wait(CONSTANTS)))


# -- upgrades -----------------------------------------------------------------------------------------------


def promised_world() -> tuple[Together, Site, Site]:
    world = Together()
    active = world.until_active()
    world.lose_witnesses()
    world.passes(3 * TTL_MS)
    assert active.group.taken.mark is not None
    return world, active, world.other(active)


def test_a_process_that_took_over_reports_promises_though_nothing_new_is_told_to_it():
    _, _, other = promised_world()
    other.group.given.told = False  # as after SIGUSR2: its version is known, so the witnesses do not tell it again
    other.group.given.adopted()
    assert other.group.holds.promising
    assert other.group.holds.promised == other.group.given.mark


def test_an_agent_that_goes_on_by_holds_is_not_settled_before_its_new_epoch():
    world, active, _ = promised_world()
    assert "goes on by holds" in active.agent.unsettled()
    world.lose_witnesses(on=False)
    world.passes(2 * TTL_MS)
    assert active.agent.unsettled() == ""


# -- the re-grant in place ----------------------------------------------------------------------------------


def until(world: Together, found: Callable[[], bool], limit_ms: int = 10_000) -> None:
    for _ in range(limit_ms // 10):
        if found():
            return
        world.passes(10)
    raise AssertionError("it never came about")


def test_while_one_epoch_is_claimed_in_place_a_later_one_waits():
    world, active, _ = promised_world()
    world.lose_witnesses(on=False)
    holder = active.group.holder
    until(world, lambda: holder.next != 0)
    bound = holder.bound
    active.group._granted_in_place(Epoch(bound + 1), holder.epoch)
    active.group.bounds_stored(active.clock.read())
    assert (holder.next, holder.bound) == (bound, bound)


# -- a handover that was not heard of -----------------------------------------------------------------------


def test_a_refusal_for_a_handovers_end_is_the_handover():
    world = Together()
    active = world.until_active()
    epoch = active.group.holder.epoch
    answer = GroupAnswer(
        G, Verdict.REFUSED, epoch, RenewalNo(9), TTL_MS, 10_000, 0, RevokePhase.DUE, 2, Reason.REVOKE_DUE
    )
    now = active.clock.read()
    active.group.answered(answer, now, epoch, now)
    assert active.state is SiteState.DEACTIVATING
    active.group.hold(now, silent=True, interval_ns=1_000 * NS_PER_MS)
    assert not active.group.taken.on


# -- who keeps whom from being granted ----------------------------------------------------------------------


@pytest.mark.parametrize(("promised", "blocked"), [(None, False), (1, False), (2, True)])
def test_another_sites_word_counts_while_the_last_holder_may_live_by_it(promised: int | None, blocked: bool):
    world, active, other = promised_world()
    group, now = world.witness.group, world.witness.clock.now()
    former, report = group.former, group.sites[other.name].report
    assert former is not None
    assert report is not None
    group.settled = former.epoch
    mark = None if promised is None else HoldMark(Epoch(former.epoch - 2 + promised), 1, NO_CHAIN)
    group.sites[other.name].report = replace(report, promising=True, promised=mark)
    sight = GroupSight(started=InstantNs(0), heard={A: now, B: now})
    against = {
        site: [one for one in blockers_of(group, site, sight, now) if one.reason is Reason.PROMISE_OUTSTANDING]
        for site in (active.name, other.name)
    }
    assert bool(against[active.name]) is blocked
    assert against[other.name], "its own word always keeps itself"
