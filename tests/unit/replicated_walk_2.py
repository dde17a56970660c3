"""The walk of feature level 2: holds, re-grants in place, permits and rates of clocks; wall clocks go on and leap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core_rig import AUTHOR, SESSION, A, B, C, G, Rig, W, entry, report, token
from replicated_walk import Walk

from proto import codec, commands
from proto.clock_rate import RateBounds
from proto.commands import Cause, Command, Grant, LogEntry
from proto.decisions import Reason
from proto.groups import GroupConfig, WitnessLoss
from proto.health import HealthReport, SiteState
from proto.holds import HoldMark
from proto.messages import GroupHeartbeat, Heartbeat
from proto.permit import AFTER_MS_MIN, EPOCH_LEAP, PermitMark
from proto.units import Chain, Claim, Epoch, Incarnation, Nonce, SiteId, WallMs, WitnessId
from witness.core.effects import Outcome
from witness.core.lease_rules import epoch_floor
from witness.core.transitions import Phase

ENTRY_MS = 300
CLAIM = Claim(token("claim"))


class WallRig(Rig):
    """Witnesses propose in turn, each by a wall clock that goes on."""

    wall_ms = 1_800_000_000_000

    def __init__(self, group: GroupConfig | None = None, *, vacant: bool = True) -> None:
        self.told: set[str] = set()
        """Kinds of events, of every entry."""
        super().__init__(group, vacant=vacant)

    def run(self, *commands: Command) -> list[Outcome]:
        self.index += 1
        self.wall_ms += ENTRY_MS
        made = LogEntry(W[self.index % len(W)], SESSION, self.index, WallMs(self.wall_ms), tuple(commands))
        data = codec.encode_entry(made, [codec.encode_command(command) for command in commands])
        self.log.append(data)
        self.last = self.machine.apply(self.index, data)
        self.changes = self.last.changes
        self.told |= set(self.kinds())
        return list(self.last.outcomes)

    def grant_command(self, site: SiteId = A, **changes: Any) -> Grant:
        """Above what permits and those who vouched for them leave below."""
        return super().grant_command(site, **{"epoch": Epoch(epoch_floor(self.group) + 1), **changes})


class LaterWalk(Walk):
    RIG = WallRig

    def turns(self) -> tuple[Callable[[], object], ...]:
        return (*super().turns(), self.begin, self.lives_on, self.breaks_the_glass, self.reconcile, self.clocks)

    def wanted(self, config: GroupConfig) -> GroupConfig:
        loss = self.pick((WitnessLoss.HOLD, WitnessLoss.HOLD, WitnessLoss.FENCE))
        return replace(config, witness_loss=loss, break_glass_key="ab" * 32, break_glass_after_ms=AFTER_MS_MIN)

    def more(self, site: SiteId, *, active: bool) -> dict[str, Any]:
        group = self._group()
        epoch = Epoch(0 if group is None else group.epoch)
        mark = HoldMark(epoch, 1 + self.pick((0, 1, 2)), Chain(token(self.pick(("chain", "chain", "fork")))))
        said: dict[str, Any] = {}
        if self.chance(0.1):
            said["promised"] = mark
        if self.chance(0.05):
            said["promising"] = True
        if active and self.chance(0.05):
            said["holding"] = mark
        if self.chance(0.02):
            said["permit"] = PermitMark(Epoch(epoch + EPOCH_LEAP), token(self.pick(("p1", f"p-{site}"))))
        return said

    def send(self, site: SiteId, told: GroupHeartbeat, life: int) -> None:
        answered = self.seq - 1 if self.chance(0.8) else -1
        self._tell(site, told, Incarnation(token(f"i{life}")), answered)

    def _tell(self, site: SiteId, told: GroupHeartbeat, incarnation: Incarnation, answered: int) -> None:
        beat = Heartbeat(site, incarnation, self.seq, Nonce(token("n")), WallMs(1), (told,), answered)
        self.rig.one(commands.HeartbeatFrame(codec.AGENT_MESSAGES.encode(beat)))

    def _says(self, site: SiteId, incarnation: Incarnation, epoch: int = 0, **said: Any) -> None:
        """Twice, so that the second knows the answer to the first."""
        group = self._group()
        version = 0 if group is None else group.version
        told: HealthReport = report(group_version=version, store_id=token(f"store-{site}"), **said)
        self.said[site] = told
        for _ in range(2):
            self.seq += 1
            claim = CLAIM if epoch else bytes(16)
            self._tell(site, entry(epoch=epoch, claim=claim, said=told), incarnation, self.seq - 1)

    def _all_down(self, but: SiteId) -> None:
        group = self._group()
        for site in group.config.sites:
            if site != but:
                incarnation = group.sites[site].incarnation or Incarnation(token("i1"))
                self._says(site, incarnation, epoch_bound=group.epoch, finished_epoch=group.epoch)

    def clocks(self) -> None:
        site, rate = self.pick((A, B, C)), self.pick((1_000_000,) * 5 + (970_000, 970_000, 1_030_000))
        for witness in (self.pick(("w1", "w2", "w3", "w9")), self.pick(("w1", "w2", "w3"))):
            life = Incarnation(token(f"i{self.lives[site]}"))
            bounds = RateBounds(rate - 100, rate + 100)
            self.rig.one(commands.ClockReport(WitnessId(witness), site, life, bounds))

    # -- holds ----------------------------------------------------------------------------------------------

    def lives_on(self) -> None:
        """The holder's lease runs out while it goes on by holds; the witnesses are back, and grant in place or not."""
        group = self._group()
        lease = None if group is None else group.lease
        if lease is None or lease.site is None or lease.incarnation is None or lease.claim != CLAIM:
            return
        site, incarnation, epoch = lease.site, lease.incarnation, lease.epoch
        for witness in ("w1", "w2"):
            self.rig.vote(WitnessId(witness), epoch=epoch, number=lease.renewal)
        mark = HoldMark(epoch, 2, Chain(token("chain")))
        runs = {"state": SiteState.ACTIVE, "epoch_bound": epoch}
        self._says(site, incarnation, epoch, holding=mark, **runs)
        for other in self._others(site):
            told = HoldMark(epoch, self.pick((2, 2, 1)), Chain(token(self.pick(("chain",) * 5 + ("fork",)))))
            known = self._group().sites[other].incarnation or Incarnation(token("i1"))
            self._says(other, known, promised=told, epoch_bound=epoch, finished_epoch=epoch)
        wish = self.rig.grant_command(site, cause=Cause.REGRANT, reason=Reason.HOLDS_UNBROKEN, incarnation=incarnation)
        if self.rig.one(wish).ok and self.chance(0.8):
            now = self._group().epoch
            self._says(site, incarnation, now, holding=mark, **runs)
            self._says(site, incarnation, now, state=SiteState.ACTIVE, epoch_bound=now)

    def _others(self, site: SiteId) -> list[SiteId]:
        return [one for one in self._group().config.sites if one != site]

    # -- permits --------------------------------------------------------------------------------------------

    def breaks_the_glass(self) -> None:
        """A site of a vacant group comes back under a permit; it is adopted, ends, or is lost."""
        group, site = self._group(), self.pick((A, B, C))
        if group is None or group.phase is not Phase.VACANT or site not in group.config.sites or self.chance(0.5):
            return
        self.wall()
        incarnation = group.sites[site].incarnation or Incarnation(token("i1"))
        mark = PermitMark(Epoch(group.epoch + EPOCH_LEAP), token(f"p{self.seq}"))
        under = {"state": SiteState.ACTIVE, "permit": mark, "epoch_bound": mark.epoch}
        self._says(site, incarnation, **under)
        self._all_down(site)
        if self.chance(0.3):  # a copy of the permit at another site
            other = self._others(site)[0]
            self._says(other, self._group().sites[other].incarnation or Incarnation(token("i1")), **under)
        wish = self.rig.grant_command(
            site, cause=Cause.ADOPTED, reason=Reason.UNDER_PERMIT, incarnation=incarnation, epoch=Epoch(mark.epoch + 1)
        )
        if self.rig.one(wish).ok and self.chance(0.8):
            now = self._group().epoch
            self._says(site, incarnation, now, **under)
            self._says(site, incarnation, now, state=SiteState.ACTIVE, epoch_bound=now)

    def reconcile(self) -> None:
        if self.chance(0.1):
            self.rig.one(commands.Reconcile(G, AUTHOR))
        group = self._group()
        session = None if group is None else group.permits.session
        if session is not None and self.chance(0.7):
            for witness in W[: self.pick((1, 2, 2, 3))]:
                self.rig.vote(witness, epoch=session.floor, kind=commands.VoteKind.SESSION_OVER)

    def wall(self) -> None:
        """All witnesses were away, or one of them has the wrong time."""
        assert isinstance(self.rig, WallRig)
        self.rig.wall_ms += self.pick((AFTER_MS_MIN, AFTER_MS_MIN, 1_000, -1_000, -5_000))
