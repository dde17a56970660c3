"""What the rules of each feature level make of one long log, pinned: the same log must give the same state for ever.

When this fails, you changed what is applied: a rule, a text of an event, a bound. A witness of the version before
makes another state of the same entries, in a rolling upgrade and when it reads its log again after one; the two then
grant one epoch to two sites. Before a release, `python tests/unit/test_replicated_rules.py` writes the files anew.
After it, let the rule ask `state.feature_level`, raise FEATURE_MAX (proto/features.py), and write the new level's file;
those of released levels never change.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from core_rig import AUTHOR, A, B, C, G, Rig, config, entry, frame, report, token

from proto import commands
from proto.clock_rate import RateBounds
from proto.decisions import Reason
from proto.events import EventKind
from proto.features import FEATURE_FIRST, FEATURE_MAX
from proto.groups import Mode
from proto.health import DataChecks, HealthReport, SiteState
from proto.lease import LeaseConstants
from proto.messages import ReleaseKind
from proto.schema import members_of
from proto.units import Claim, Epoch, Incarnation, SiteId, WitnessId
from witness.core.machine import Machine

STEPS, EVERY, IMAGE_EVERY = 4_000, 100, 10
LEVELS = range(FEATURE_FIRST, FEATURE_MAX + 1)
OF_OTHER_LOGS = {"cluster-founded", "feature-raised", "restored"}
"""Events that this one cannot have."""
T = TypeVar("T")


class Walk:
    """Mostly what honest agents, witnesses and operators do, in any order; now and then what they never would."""

    def __init__(self, level: int = FEATURE_FIRST) -> None:
        self.rig = Rig(config(sites=(A, B, C)))
        for one in range(FEATURE_FIRST + 1, level + 1):
            assert self.rig.one(commands.RaiseFeatureLevel(one)).ok
        self._level = level
        self._rng = random.Random(8)
        self.lives = dict.fromkeys((A, B, C), 1)
        self.seq = 0
        self.said: dict[SiteId, HealthReport] = {}
        """By each site last: agents repeat themselves."""
        self.seen: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()

    def pick(self, values: Sequence[T]) -> T:
        return values[int(self._rng.random() * len(values))]  # `random` alone is the same in every Python

    def chance(self, share: float) -> bool:
        return self._rng.random() < share

    def step(self) -> None:
        turns = (self.beat, self.beat, self.beat, self.beat, self.votes, self.grant, self.fence)
        turns += (self.release, self.revoke, self.begin)
        turns += (self.clocks,) if self._level >= 2 else ()
        by_operator = self.chance(0.1 if self._group() is not None else 0.7)
        turn: Callable[[], object] = self.operator if by_operator else self.pick(turns)
        turn()
        last = self.rig.last
        self.seen.update(outcome.reason.value for outcome in last.outcomes)
        self.seen.update(answer.reason.value for outcome in last.outcomes for answer in outcome.answers)
        self.kinds.update(event.kind.value for event in last.events)

    def _group(self) -> Any:
        return self.rig.machine.state.groups.get(G)

    def beat(self, site: SiteId | None = None) -> None:
        group, site = self._group(), site or self.pick((A, B, C))
        lease = None if group is None else group.lease
        mine = lease is not None and lease.site == site
        epoch = 0 if group is None else group.epoch
        active = mine and self.chance(0.7)
        finished = self.pick((epoch, epoch, max(0, epoch - 1)))
        said = report(
            state=SiteState.ACTIVE if active else self.pick((SiteState.STANDBY, SiteState.FENCED, SiteState.FENCING)),
            enforce=not self.chance(0.05),
            ready=not self.chance(0.1),
            data_checks=self.pick((DataChecks.PASSED, DataChecks.PASSED, DataChecks.FAILED)),
            epoch_bound=Epoch(epoch if mine else finished),
            finished_epoch=Epoch(0 if active else finished),
            group_version=0 if group is None else group.version,
            store_id=token("other" if self.chance(0.01) else f"store-{site}"),
        )
        said = self.said[site] = self.said[site] if site in self.said and self.chance(0.5) else said
        told = entry(
            epoch=epoch if active else 0,
            claim=token(self.pick(("claim",) * 20 + ("other",))) if active else bytes(16),
            said=b"rubbish" if self.chance(0.02) else said,
        )
        self.lives[site] += self.chance(0.02)
        life = self.lives[site] - self.chance(0.02)
        self.seq += not self.chance(0.02)
        self.rig.one(frame(site, told, incarnation=f"i{life}", seq=self.seq))

    def votes(self) -> None:
        group = self._group()
        lease = None if group is None else group.lease
        number = 0 if lease is None else lease.renewal
        revoked = lease is not None and lease.revocation is not None and self.chance(0.5)
        kind = commands.VoteKind.REVOKE_DUE if revoked else self.pick(tuple(commands.VoteKind))
        for witness in ("w1", self.pick(("w2", "w3", "w1", "w9"))):
            epoch = 0 if group is None else group.epoch
            self.rig.vote(WitnessId(witness), epoch=epoch, number=1 if revoked else number, kind=kind)

    def grant(self) -> None:
        if self._group() is not None:
            site = self.pick((A, B, C))
            incarnation = self._group().sites[site].incarnation if site in self._group().sites else None
            why = self.pick((Reason.OPERATOR_ASKED, Reason.HOLDER_EXPIRED, Reason.FIRST_ACTIVATION))
            wish = self.rig.grant_command(site, reason=why, incarnation=incarnation or Incarnation(token("i1")))
            self.rig.one(wish)

    def begin(self) -> None:
        """Operators clear everything, all sites say that they are down, one is granted the lease and claims it."""
        group, site = self._group(), self.pick((A, B, C))
        if group is None or not self.chance(0.3):
            return
        self.rig.one(commands.SetMode(G, self.pick((Mode.AUTOMATIC, Mode.MANUAL)), AUTHOR))
        for one in group.config.sites:
            self.rig.one(commands.SetQuarantine(G, one, False, (), AUTHOR))
            self.rig.one(commands.SetMaintenance(G, one, False, AUTHOR))
            self.said[one] = report(finished_epoch=group.epoch, epoch_bound=group.epoch, store_id=token(f"store-{one}"))
            self.beat(one)
        self.grant()
        if group.lease is not None and group.lease.site is not None:
            self.beat(group.lease.site)
            self.beat(site)

    def fence(self) -> None:
        """The holder stops renewing, and says so until its lease has run out, and after it."""
        group = self._group()
        if group is not None and group.lease is not None and group.lease.claim is not None and self.chance(0.3):
            site, epoch, renewal = group.lease.site, group.lease.epoch, group.lease.renewal
            store = token(f"store-{site}")
            self.said[site] = report(state=SiteState.FENCED, epoch_bound=epoch, finished_epoch=epoch, store_id=store)
            for _ in range(3):
                self.beat(site)
            for witness in ("w1", "w3"):
                self.rig.vote(WitnessId(witness), epoch=epoch, number=renewal)
            for _ in range(3):
                self.beat(site)

    def release(self) -> None:
        if self._group() is not None and self._group().lease is not None and self.chance(0.4):
            site = self._group().lease.site or A
            incarnation = self._group().lease.incarnation or Incarnation(token("i1"))
            kind = self.pick((ReleaseKind.CLEAN, ReleaseKind.CLEAN, ReleaseKind.ACTIVATION_FAILED))
            claim = Claim(token(self.pick(("claim", "claim", "other"))))
            wish = self.rig.release_command(site=site, incarnation=incarnation, kind=kind, claim=claim)
            self.rig.one(wish)

    def revoke(self) -> None:
        if self._group() is not None:
            why = self.pick((Reason.OPERATOR_ASKED, Reason.HOLDER_UNFIT, Reason.FAILBACK_DUE))
            self.rig.one(self.rig.revoke_command(self.pick((A, B, C)), reason=why))

    def clocks(self) -> None:
        site, rate = self.pick((A, B, C)), self.pick((1_000_000,) * 5 + (970_000, 970_000, 1_030_000))
        for witness in (self.pick(("w1", "w2", "w3", "w9")), self.pick(("w1", "w2", "w3"))):
            life = Incarnation(token(f"i{self.lives[site]}"))
            bounds = RateBounds(rate - 100, rate + 100)
            self.rig.one(commands.ClockReport(WitnessId(witness), site, life, bounds))

    def operator(self) -> None:
        group, site = self._group(), self.pick((A, B, C))
        version = 0 if group is None else group.version
        ttl = LeaseConstants(self.pick((1_000, 2_000, 1)), 10_000, 0)
        sites = self.pick(((A, B, C), (A, B, C), (B, A, C), (A, B)))
        wishes = (
            commands.ConfigureGroup(config(sites=sites, constants=ttl), version, AUTHOR),
            commands.SetMode(G, self.pick((Mode.AUTOMATIC, Mode.AUTOMATIC, *Mode)), AUTHOR),
            commands.SetMaintenance(G, site, self.chance(0.3), AUTHOR),
            commands.SetQuarantine(G, site, self.chance(0.2), (), AUTHOR),
            commands.DeleteGroup(G, AUTHOR) if self.chance(0.2) else commands.SetMode(G, Mode.AUTOMATIC, AUTHOR),
        )
        self.rig.one(self.pick(wishes))


def pinned(level: int) -> tuple[str, Walk]:
    walk = Walk(level)
    lines = []
    for step in range(1, STEPS + 1):
        walk.step()
        if step % EVERY == 0:
            state = walk.rig.machine.state
            lines.append(f"{state.applied_index}: state {walk.rig.machine.state_hash()[:16]}, events {chain(state)}")
    counts = [f"{name}: {count}" for name, count in sorted((walk.seen + walk.kinds).items())]
    return "\n".join([*lines, "", *counts]) + "\n", walk


def chain(state: Any) -> str:
    return f"{state.ledger.head_seq} {state.ledger.head_chain.hex()[:16]}"


def file_of(level: int) -> Path:
    return Path(__file__).with_name(f"replicated_rules_{level}.txt")


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_makes_of_a_log_what_it_always_did(level: int) -> None:
    text, walk = pinned(level)
    assert text == file_of(level).read_text(encoding="utf-8"), __doc__
    again = Machine()
    for index, data in enumerate(walk.rig.log, start=1):
        again.apply(index, data)
    assert again.snapshot() == walk.rig.machine.snapshot(), "nothing but the log decides"


@pytest.mark.parametrize("level", LEVELS)
def test_a_replica_that_was_installed_from_an_image_tells_the_same(level: int) -> None:
    """Images hold dicts and sets sorted; the order in which things came is on the replicas that saw them alone."""
    _, walk = pinned(level)
    replica = Machine()
    events = []
    for index, data in enumerate(walk.rig.log, start=1):
        events += replica.apply(index, data).events
        if index % IMAGE_EVERY == 0:
            replica.restore(replica.snapshot())
    assert replica.snapshot() == walk.rig.machine.snapshot()
    assert events, "the last event's hash is in the image, and so they are all the same"


def test_the_log_of_level_2_has_clocks_of_every_kind() -> None:
    _, walk = pinned(2)
    assert {"clock-too-slow", "clock-too-fast", "clock-fit"} <= set(walk.kinds)
    assert {"clock-too-slow", "clock-too-fast"} <= set(walk.seen)


def test_the_log_meets_every_event_and_most_refusals() -> None:
    _, walk = pinned(FEATURE_FIRST)
    assert {kind.value for kind in members_of(EventKind, FEATURE_FIRST)} - set(walk.kinds) == OF_OTHER_LOGS
    assert len(walk.seen) >= 20, walk.seen


if __name__ == "__main__":
    for one in LEVELS:
        file_of(one).write_text(pinned(one)[0], encoding="utf-8")
