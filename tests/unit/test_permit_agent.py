"""B2 in the agent's core: when a permit is taken, what it gives, how it ends, and how the witnesses take it over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from agent_rig import ANSWER, SETTINGS, TTL_MS, W1, AgentRig, G

from agents.core.agent import SiteAgent
from agents.core.effects import ExtendDeadline, KeepAuthority, PlanKind, StartPlan, StoreBounds, StorePermit, StoreSites
from agents.core.permit_desk import PermitDesk
from agents.core.permit_record import PermitRecord
from proto.codec import REPORTS
from proto.decisions import Reason
from proto.groups import WitnessLoss
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.messages import GroupSites, HeartbeatAnswer, Notice, NoticeKind, Verdict
from proto.permit import AFTER_MS_MIN, EPOCH_LEAP, Permit, PermitMark, PermitTerms, unanswered_wait
from proto.units import NS_PER_MS, NS_PER_S, ClusterId, Epoch, GroupId, SiteId, WallMs

TERMS = PermitTerms("ab" * 32, AFTER_MS_MIN)
CONSTANTS = LeaseConstants(TTL_MS, 10_000, 0)
SITES = GroupSites(G, 1, (SiteId("dc-a"), SiteId("dc-b")), WitnessLoss.FENCE, None, TERMS, CONSTANTS)
AFTER_MS = unanswered_wait(AFTER_MS_MIN, CONSTANTS) // NS_PER_MS + 1
P = Epoch(2 + EPOCH_LEAP)
NEXT = Epoch(P + 1)


class PermitAgent(AgentRig):
    """An agent whose shell also keeps what it is asked to."""

    def __init__(self, *, record: PermitRecord | None = None, sites: GroupSites | None = SITES, **group) -> None:
        super().__init__(**group)
        if record is not None or sites is not None:
            numbers = iter(range(1_000_000, 2_000_000))
            self.agent = SiteAgent(
                self.settings,
                tokens=lambda: next(numbers).to_bytes(16, "big"),
                bounds={G: (Epoch(0), Epoch(0))},
                started=self.clock.read(),
                sites={} if sites is None else {G: sites},
                permits={} if record is None else {G: record},
            )
            self.effects.clear()
            self.take()
            self._open_streams()
        self.verified()

    def verified(self) -> PermitAgent:
        self.finish(PlanKind.VERIFY_DOWN)
        return self

    def finish(self, kind: PlanKind, *, ok: bool = True) -> None:
        plan = self.last(StartPlan)
        assert plan.kind is kind
        self.agent.plan_finished(G, plan.plan, ok, "", self.clock.read())
        self.take()
        self.store()

    def store(self) -> None:
        """Everything that was to be stored is on disk, in order."""
        for _ in range(10):
            waiting = [one for one in self.effects if isinstance(one, StorePermit | StoreBounds | StoreSites)]
            if not waiting:
                return
            for one in waiting:
                self.effects.remove(one)
                if isinstance(one, StorePermit):
                    self.agent.permit_stored(G, self.clock.read())
                elif isinstance(one, StoreBounds):
                    self.agent.bounds_stored(G, self.clock.read())
                else:
                    self.agent.sites_stored(G, self.clock.read())
                self.take()
        raise AssertionError("storing without end")

    def permit(self, **changes) -> Permit:
        made = WallMs(self.clock.read().wall_ms - 60_000)
        base = Permit(SETTINGS.cluster, G, SETTINGS.site, b"p" * 16, P, made, WallMs(made + 3_600_000))
        return replace(base, **changes)

    def use(self, **changes) -> str:
        words = self.agent.break_glass(G, self.permit(**changes), self.clock.read())
        self.take()
        return words

    def silent(self) -> PermitAgent:
        self.passes(AFTER_MS)
        self.take()
        return self

    def active(self) -> PermitAgent:
        assert self.silent().use() == ""
        self.store()
        self.finish(PlanKind.ACTIVATE)
        assert self.state is SiteState.ACTIVE
        return self

    def hear(self, verdict: Verdict = Verdict.DORMANT, **changes) -> None:
        """A witness answers the next heartbeat."""
        beat = self.fresh_beat()
        answer = ANSWER._replace(verdict=verdict, **changes)
        self.agent.received(W1, HeartbeatAnswer(beat.nonce, (answer,)), self.clock.read())
        self.take()


# -- when it is taken -------------------------------------------------------------------------------------


def test_it_is_taken_after_the_silence_on_disk_first_and_then_the_platform_starts():
    rig = PermitAgent().silent()
    assert rig.use() == ""
    stored = rig.last(StorePermit).record
    assert stored.current == PermitMark(P, b"p" * 16)
    assert b"p" * 16 in stored.used
    assert not [one for one in rig.effects if isinstance(one, StoreBounds)], (
        "the use is on disk before anything follows"
    )
    rig.effects.remove(rig.last(StorePermit))
    rig.agent.permit_stored(G, rig.clock.read())
    rig.take()
    assert rig.last(StoreBounds).epoch_bound == P
    assert rig.state is SiteState.STANDBY
    rig.store()
    assert rig.state is SiteState.ACTIVATING
    plan = rig.last(StartPlan)
    assert (plan.kind, plan.epoch, plan.cause) == (PlanKind.ACTIVATE, P, "permit")
    assert rig.last(KeepAuthority).epoch == P
    assert "no witness protects this" in rig.told[-1]


def test_not_a_moment_before_the_silence_is_long_enough_and_any_answer_begins_it_anew():
    rig = PermitAgent()
    rig.passes(AFTER_MS - 1_000)
    assert "wait" in rig.use()
    rig.hear()
    rig.passes(AFTER_MS - 1_000)
    assert "wait" in rig.use()
    rig.passes(1_001)
    assert rig.use() == ""


def test_the_silence_is_counted_by_the_clock_that_says_less():
    rig = PermitAgent()
    desk, start = rig.group.desk, rig.clock.read()
    ahead = start._replace(
        boottime_ns=start.boottime_ns + 90 * NS_PER_S, monotonic_raw_ns=start.monotonic_raw_ns + NS_PER_S
    )
    behind = start._replace(
        boottime_ns=start.boottime_ns + NS_PER_S, monotonic_raw_ns=start.monotonic_raw_ns + 90 * NS_PER_S
    )
    for reading in (ahead, behind):
        assert desk.silent_ns(reading) == NS_PER_S
        assert "wait" in desk.problem(rig.permit(), rig.group.permit_standing(rig.clock.read()), reading)


REFUSED = {
    "another cluster": ({"cluster": ClusterId("d" * 32)}, "is for cluster"),
    "another group": ({"group": GroupId("web")}, "is for group"),
    "another site": ({"site": SiteId("dc-b")}, "is for site"),
    "over": ({"use_by_ms": WallMs(1)}, "was to be used"),
    "an epoch that was acted upon": ({"epoch": Epoch(0)}, "--epoch-above"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_with_the_remedy_and_changes_nothing(changes, words):
    rig = PermitAgent().silent()
    assert words in rig.use(**changes)
    assert not rig.all_of(StorePermit)
    assert rig.use() == "", "the right one is still taken"


def test_a_group_without_permits_and_an_agent_that_was_never_told_take_none():
    assert "takes no permits" in PermitAgent(sites=None).silent().use()
    assert "takes no permits" in PermitAgent(sites=replace(SITES, permits=PermitTerms())).silent().use()


def test_it_is_used_once_also_when_the_process_ends_before_anything_followed():
    rig = PermitAgent().silent()
    assert rig.use() == ""
    assert "busy" in rig.use(permit=b"q" * 16, epoch=Epoch(P + 1)), "one at a time"
    kept = rig.last(StorePermit).record
    again = PermitAgent(record=kept)
    assert again.agent.groups[G].desk.current is None, "nobody confirmed this life"
    assert "used here before" in again.silent().use()
    assert again.use(permit=b"q" * 16, epoch=Epoch(P + 1)) == ""


def test_what_cannot_be_read_from_disk_takes_no_permit():
    record = PermitRecord(damaged="GROUP.permits is damaged: remove it")
    assert "damaged" in PermitAgent(record=record).silent().use()


def test_a_wall_clock_behind_what_was_seen_is_not_trusted():
    rig = PermitAgent(record=PermitRecord(wall_seen_ms=WallMs(1_900_000_000_000)))
    assert "wall clock" in rig.silent().use()


def test_a_site_that_is_not_down_or_only_watches_takes_none():
    watching = AgentRig(enforce=False)
    watching.agent.groups[G].sites = SITES
    watching.passes(AFTER_MS)
    permit = PermitAgent().permit()
    words = watching.agent.break_glass(G, replace(permit, epoch=P), watching.clock.read())
    assert words != ""
    rig = PermitAgent().active()
    assert "not proven down" in rig.use(permit=b"q" * 16, epoch=Epoch(P + 1)) or "not above" in rig.use(
        permit=b"q" * 16
    )
    assert "no group" in rig.agent.break_glass(GroupId("web"), permit, rig.clock.read())


def test_a_stop_that_comes_while_it_is_being_noted_uses_it_up():
    rig = PermitAgent().silent()
    assert rig.use() == ""
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    rig.store()
    assert rig.state is SiteState.STANDBY
    assert "used up" in " ".join(rig.told)


# -- what it gives ----------------------------------------------------------------------------------------


def test_authority_goes_on_while_the_process_lives_and_never_further_than_a_ttl():
    rig = PermitAgent().active()
    for _ in range(20):
        rig.passes(500)
        left_ns = rig.group.holder.authority.left_ns(rig.clock.read())
        assert 0 < left_ns <= TTL_MS * NS_PER_MS
    assert rig.state is SiteState.ACTIVE
    assert rig.last(ExtendDeadline).epoch == P


def test_a_process_that_stood_still_for_a_ttl_is_fenced_like_any_other():
    rig = PermitAgent().active()
    rig.clock.advance(2 * TTL_MS * NS_PER_MS)
    rig.agent.tick(rig.clock.read())
    rig.take()
    assert rig.state is SiteState.FENCING


def test_under_a_permit_it_renews_nothing_asks_for_no_holds_and_says_so():
    rig = PermitAgent(peers=(SiteId("dc-b"),)).active()
    rig.passes(3_000)
    report = REPORTS.decode(rig.entry.report)
    assert (rig.entry.epoch, report.permit) == (0, PermitMark(P, b"p" * 16))
    assert report.epoch_bound == P
    assert not [one for one in rig.effects if type(one).__name__ == "SendSite"]
    assert rig.group.permit_in_use


def test_the_newest_answer_that_is_known_is_told_to_the_witnesses():
    rig = PermitAgent()
    assert rig.fresh_beat().answered == -1
    seq = rig.beat.seq
    rig.agent.received(W1, HeartbeatAnswer(rig.beat.nonce, (ANSWER,)), rig.clock.read())
    rig.take()
    assert rig.fresh_beat().answered == seq
    plain = PermitAgent(sites=None)
    plain.agent.received(W1, HeartbeatAnswer(plain.fresh_beat().nonce, (ANSWER,)), plain.clock.read())
    assert plain.fresh_beat().answered == -1, "witnesses that told nothing of permits may be older"


# -- how it ends ------------------------------------------------------------------------------------------


def test_it_is_ended_in_order_and_nothing_is_released():
    rig = PermitAgent().active()
    assert rig.agent.end_break_glass(G, rig.clock.read()) == ""
    rig.take()
    assert rig.state is SiteState.DEACTIVATING
    rig.passes(3_000)
    rig.finish(PlanKind.DEACTIVATE)
    assert rig.state is SiteState.STANDBY
    assert not rig.group.permit_in_use
    rig.hear()
    rig.passes(2_000)
    assert rig.releases() == []
    assert "not active under a permit" in rig.agent.end_break_glass(G, rig.clock.read())
    assert REPORTS.decode(rig.entry.report).permit is None
    assert rig.group.holder.finished == P


def test_a_fence_ends_it_too():
    rig = PermitAgent().active()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.take()
    rig.store()
    assert rig.state is SiteState.FENCED
    assert not rig.group.permit_in_use
    assert rig.releases() == []


# -- the witnesses are back -------------------------------------------------------------------------------


def adopted(rig: PermitAgent, epoch: Epoch = NEXT) -> PermitAgent:
    rig.hear(Verdict.GRANTED, epoch=epoch)
    rig.store()
    assert rig.fresh_beat().groups[0].epoch == epoch
    return rig


def test_it_is_adopted_without_a_stop():
    rig = adopted(PermitAgent().active())
    assert rig.group.under_permit is not None, "until the first answer to the claim"
    assert REPORTS.decode(rig.entry.report).permit is not None
    rig.hear(Verdict.RENEWED, epoch=Epoch(P + 1))
    rig.store()
    assert (rig.state, rig.group.holder.epoch) == (SiteState.ACTIVE, P + 1)
    assert not rig.group.permit_in_use
    assert rig.last(ExtendDeadline).epoch == P + 1
    rig.passes(5_000)
    assert rig.state is not SiteState.ACTIVE, "from here on it is a lease like any other"


def test_when_the_answer_to_the_claim_is_lost_it_goes_on_under_the_permit():
    rig = adopted(PermitAgent().active())
    for _ in range(10):
        rig.passes(700)
    assert (rig.state, rig.group.holder.epoch) == (SiteState.ACTIVE, P)
    rig.hear(Verdict.REFUSED, epoch=Epoch(P + 1), reason=Reason.NOT_HOLDER)
    assert rig.state is SiteState.ACTIVE, "the adopted lease ran out; the witnesses grant it again"
    adopted(rig, Epoch(P + 2))
    rig.hear(Verdict.RENEWED, epoch=Epoch(P + 2))
    assert rig.group.holder.epoch == P + 2


def test_a_notice_of_the_grant_is_as_good_as_an_answer():
    rig = PermitAgent().active()
    rig.agent.received(W1, Notice(G, NoticeKind.GRANTED, Epoch(P + 1)), rig.clock.read())
    rig.take()
    rig.store()
    assert rig.fresh_beat().groups[0].epoch == P + 1


def test_it_does_not_end_by_what_witnesses_say_of_others_unless_another_site_holds_more():
    rig = PermitAgent().active()
    rig.hear(Verdict.DORMANT, epoch=Epoch(P + 7))
    rig.hear(Verdict.UNKNOWN_GROUP)
    assert rig.state is SiteState.ACTIVE
    rig.hear(Verdict.DORMANT, epoch=Epoch(P + 7), reason=Reason.PERMIT_OVERRULED)
    assert rig.state is SiteState.FENCING


def test_a_stop_in_the_middle_of_the_adoption_releases_the_witnesses_epoch():
    rig = adopted(PermitAgent().active())
    assert rig.agent.end_break_glass(G, rig.clock.read()) == ""
    rig.take()
    rig.finish(PlanKind.DEACTIVATE)
    rig.hear()
    rig.passes(1_000)
    assert [one.epoch for one in rig.releases()[:1]] == [P + 1], "its claim may have been committed"


def test_a_record_that_is_stored_late_is_not_taken_for_a_later_one():
    made: list[StorePermit] = []
    rig = PermitAgent()
    desk = PermitDesk(
        (SETTINGS.cluster, G, SETTINGS.site),
        made.append,  # type: ignore[arg-type]  # only StorePermit comes
        PermitRecord(current=PermitMark(Epoch(1), b"o" * 16)),
        rig.clock.read(),
    )
    desk.over()
    rig.silent()
    assert desk.offered(rig.permit(), rig.group.permit_standing(rig.clock.read()), rig.clock.read()) == ""
    assert desk.stored() is None
    taken = desk.stored()
    assert taken is not None
    assert taken.epoch == P
