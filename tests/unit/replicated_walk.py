"""A long log for the pins of the rules: mostly what honest agents, witnesses and operators do, in any order.

The draws of a level that is released never change: a later level's walk has hooks of its own (replicated_walk_2.py).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from core_rig import AUTHOR, A, B, C, G, Rig, config, entry, frame, report, token

from proto import commands
from proto.decisions import Reason
from proto.features import FEATURE_FIRST
from proto.groups import GroupConfig, Mode
from proto.health import DataChecks, HealthReport, SiteState
from proto.lease import LeaseConstants
from proto.messages import GroupHeartbeat, ReleaseKind
from proto.schema import members_of
from proto.units import Claim, Epoch, Incarnation, SiteId, WitnessId

T = TypeVar("T")

VOTE_KINDS = tuple(members_of(commands.VoteKind, FEATURE_FIRST))


class Walk:
    """Now and then also what they never would."""

    RIG: ClassVar[type[Rig]] = Rig

    def __init__(self, level: int = FEATURE_FIRST) -> None:
        self.rig = self.RIG(config(sites=(A, B, C)))
        for one in range(FEATURE_FIRST + 1, level + 1):
            assert self.rig.one(commands.RaiseFeatureLevel(one)).ok
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
        turns = self.turns()
        by_operator = self.chance(0.1 if self._group() is not None else 0.7)
        turn: Callable[[], object] = self.operator if by_operator else self.pick(turns)
        turn()
        last = self.rig.last
        self.seen.update(outcome.reason.value for outcome in last.outcomes)
        self.seen.update(answer.reason.value for outcome in last.outcomes for answer in outcome.answers)
        self.kinds.update(event.kind.value for event in last.events)

    def turns(self) -> tuple[Callable[[], object], ...]:
        turns = (self.beat, self.beat, self.beat, self.beat, self.votes, self.grant, self.fence)
        return (*turns, self.release, self.revoke, self.begin)

    def more(self, site: SiteId, *, active: bool) -> dict[str, Any]:
        """What a report of a later level says beside."""
        del site, active
        return {}

    def wanted(self, config: GroupConfig) -> GroupConfig:
        """What operators of a later level write beside."""
        return config

    def send(self, site: SiteId, told: GroupHeartbeat, life: int) -> None:
        self.rig.one(frame(site, told, incarnation=f"i{life}", seq=self.seq))

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
            **self.more(site, active=active),
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
        self.send(site, told, life)

    def votes(self) -> None:
        group = self._group()
        lease = None if group is None else group.lease
        number = 0 if lease is None else lease.renewal
        revoked = lease is not None and lease.revocation is not None and self.chance(0.5)
        kind = commands.VoteKind.REVOKE_DUE if revoked else self.pick(VOTE_KINDS)
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

    def operator(self) -> None:
        group, site = self._group(), self.pick((A, B, C))
        version = 0 if group is None else group.version
        ttl = LeaseConstants(self.pick((1_000, 2_000, 1)), 10_000, 0)
        sites = self.pick(((A, B, C), (A, B, C), (B, A, C), (A, B)))
        wishes = (
            commands.ConfigureGroup(self.wanted(config(sites=sites, constants=ttl)), version, AUTHOR),
            commands.SetMode(G, self.pick((Mode.AUTOMATIC, Mode.AUTOMATIC, *Mode)), AUTHOR),
            commands.SetMaintenance(G, site, self.chance(0.3), AUTHOR),
            commands.SetQuarantine(G, site, self.chance(0.2), (), AUTHOR),
            commands.DeleteGroup(G, AUTHOR) if self.chance(0.2) else commands.SetMode(G, Mode.AUTOMATIC, AUTHOR),
        )
        self.rig.one(self.pick(wishes))
