"""A machine at the level of permits, with wall clocks that the test moves and agents that say what they know."""

from __future__ import annotations

from dataclasses import replace

from core_rig import AUTHOR, SESSION, A, B, G, Rig, W, config, entry, report, token

from proto import codec
from proto.commands import Cause, Command, Grant, HeartbeatFrame, LogEntry, RaiseFeatureLevel, Reconcile
from proto.decisions import Reason
from proto.health import HealthReport, SiteState
from proto.messages import GroupAnswer, Heartbeat
from proto.permit import AFTER_MS_MIN, EPOCH_LEAP, PermitMark
from proto.units import Epoch, Incarnation, Nonce, SiteId, WallMs, WitnessId
from witness.core import permits
from witness.core.effects import Outcome
from witness.core.state import GroupState

KEY = "ab" * 32
AFTER_MS = AFTER_MS_MIN
P = Epoch(2 + EPOCH_LEAP)
MARK = PermitMark(P, b"p" * 16)
OTHER = PermitMark(Epoch(P + 1), b"q" * 16)
RECONCILE = Reconcile(G, AUTHOR)


class PermitRig(Rig):
    """Sites A and B; `passes` moves the wall clock of every witness."""

    def __init__(self, **changes) -> None:
        self.wall_ms = 1_800_000_000_000
        self.proposer: WitnessId = W[0]
        self.seq: dict[SiteId, int] = {}
        self.knows: dict[SiteId, int] = {}
        """The newest heartbeat of each site whose answer it got."""
        super().__init__(config(), vacant=False)
        assert self.one(RaiseFeatureLevel(2)).ok
        from proto.commands import ConfigureGroup

        wanted = replace(config(), break_glass_key=KEY, break_glass_after_ms=AFTER_MS, **changes)
        assert self.one(ConfigureGroup(wanted, 1, AUTHOR)).ok
        for witness in W[:2]:
            self.vote(witness, epoch=1)

    def run(self, *commands: Command) -> list[Outcome]:
        self.index += 1
        made = LogEntry(self.proposer, SESSION, self.index, WallMs(self.wall_ms), tuple(commands))
        data = codec.encode_entry(made, [codec.encode_command(command) for command in commands])
        self.log.append(data)
        self.last = self.machine.apply(self.index, data)
        self.changes = self.last.changes
        return list(self.last.outcomes)

    def passes(self, ms: int) -> None:
        self.wall_ms += ms

    def says(
        self, site: SiteId, *, answered: bool = True, incarnation: str = "i1", epoch: int = 0, claim=None, **said
    ) -> GroupAnswer:
        """One heartbeat; `answered`: its answer reaches the site."""
        self.seq[site] = self.seq.get(site, 0) + 1
        told = report(group_version=self.group.version, **said)
        part = entry(epoch=epoch, claim=claim or token("claim") if epoch else bytes(16), said=told)
        beat = Heartbeat(
            site,
            Incarnation(token(incarnation)),
            self.seq[site],
            Nonce(token("n")),
            WallMs(1),
            (part,),
            self.knows.get(site, -1),
        )
        outcome = self.one(HeartbeatFrame(codec.AGENT_MESSAGES.encode(beat)))
        if answered:
            self.knows[site] = self.seq[site]
        return outcome.answers[0]

    def known(self, *sites: SiteId) -> PermitRig:
        """Each is heard, gets its answer, and says so."""
        for site in sites or (A, B):
            self.says(site)
            self.says(site)
        return self

    def under_permit(self, site: SiteId = B, mark: PermitMark = MARK, **changes) -> GroupAnswer:
        said = {"state": SiteState.ACTIVE, "permit": mark, "epoch_bound": mark.epoch, **changes}
        return self.says(site, **said)

    def adoption(self, site: SiteId = B, **changes) -> Grant:
        floor = max(self.group.epoch, P)
        base = self.grant_command(site, cause=Cause.ADOPTED, reason=Reason.UNDER_PERMIT, epoch=Epoch(floor + 1))
        return replace(base, **changes)

    def away(self) -> list[SiteId]:
        return permits.away_sites(self.group, self.machine.state.calendar.counted_ms)

    def lost(self, ms: int = AFTER_MS) -> PermitRig:
        """The witnesses were away for so long; the first entry after it is somebody's vote."""
        self.passes(ms)
        self.vote(W[0], epoch=0)
        return self


def copy_of(state: GroupState) -> HealthReport:
    found = state.sites[B].report
    assert found is not None
    return found
