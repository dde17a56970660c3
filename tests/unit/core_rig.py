"""Builds what the tests of the witness core start from: a founded machine, one group, sites that speak."""

from __future__ import annotations

from dataclasses import replace

from proto import codec
from proto.commands import (
    Author,
    Cause,
    Command,
    ConfigureGroup,
    FoundCluster,
    Grant,
    HeartbeatFrame,
    LogEntry,
    ReleaseLease,
    Revoke,
    Vote,
    VoteKind,
    Votes,
)
from proto.decisions import Reason
from proto.groups import GroupConfig
from proto.health import DataChecks, HealthReport, SiteState
from proto.lease import LeaseConstants
from proto.messages import GroupAnswer, GroupHeartbeat, Heartbeat, ReleaseKind
from proto.units import Claim, Epoch, GroupId, Incarnation, Nonce, SiteId, WallMs, WitnessId
from witness.core.changes import Changes
from witness.core.effects import Outcome
from witness.core.machine import Applied, Machine
from witness.core.transitions import Phase

A, B, C = SiteId("dc-a"), SiteId("dc-b"), SiteId("dc-c")
G = GroupId("erp")
W = (WitnessId("w1"), WitnessId("w2"), WitnessId("w3"))
CLUSTER = "c" * 32
AUTHOR = Author("alice", "a reason")
CONSTANTS = LeaseConstants(1_000, 10_000, 0)
NO_CLAIM = Claim(bytes(16))
SESSION = b"s" * 16


def token(text: str) -> bytes:
    return text.encode().ljust(16, b".")[:16]


def config(**changes) -> GroupConfig:
    return replace(GroupConfig(G, (A, B), CONSTANTS), **changes)


def report(**changes) -> HealthReport:
    base = HealthReport(
        state=SiteState.STANDBY,
        enforce=True,
        ready=True,
        healthy=True,
        data_checks=DataChecks.PASSED,
        epoch_bound=Epoch(0),
        finished_epoch=Epoch(0),
        group_version=1,
        store_id=token("store"),
        agent_version="1",
        containment="pid-namespace",
    )
    return replace(base, **changes)


def entry_bytes(
    commands: list[Command], number: int = 1, proposer: WitnessId = W[0], session: bytes = SESSION
) -> bytes:
    entry = LogEntry(proposer, session, number, WallMs(1_000), tuple(commands))
    return codec.encode_entry(entry, [codec.encode_command(command) for command in commands])


def frame(
    site: SiteId,
    *entries: GroupHeartbeat,
    incarnation: str = "i1",
    seq: int = 1,
    ended: tuple[str, ...] = (),
) -> HeartbeatFrame:
    names = tuple(Incarnation(token(name)) for name in ended)
    own = Incarnation(token(incarnation))
    beat = Heartbeat(site, own, seq, Nonce(token("n")), WallMs(1), entries, ended=names)
    return HeartbeatFrame(codec.AGENT_MESSAGES.encode(beat))


def entry(
    group: GroupId = G,
    *,
    epoch: int = 0,
    claim: bytes = NO_CLAIM,
    lag_ms: int = 5,
    said: HealthReport | bytes | None = None,
) -> GroupHeartbeat:
    data = said if isinstance(said, bytes) else codec.REPORTS.encode(said or report())
    return GroupHeartbeat(group, Epoch(epoch), Claim(claim), lag_ms, data)


class Rig:
    """A machine and the commands that it has seen."""

    def __init__(self, group: GroupConfig | None = None, *, vacant: bool = True) -> None:
        self.machine = Machine()
        self.index = 0
        self.seqs: dict[tuple[SiteId, str], int] = {}
        self.changes = Changes()
        self.last: Applied | None = None
        self.log: list[bytes] = []
        assert self.one(FoundCluster(CLUSTER, W)).ok
        assert self.one(ConfigureGroup(group or config(), 0, AUTHOR)).ok
        if vacant:
            self.vote(W[0], epoch=1)
            self.vote(W[1], epoch=1)
            assert self.group.phase is Phase.VACANT

    @property
    def group(self):
        return self.machine.state.groups[G]

    @property
    def lease(self):
        assert self.group.lease is not None
        return self.group.lease

    def run(self, *commands: Command) -> list[Outcome]:
        self.index += 1
        data = entry_bytes(list(commands), self.index)
        self.log.append(data)
        self.last = self.machine.apply(self.index, data)
        self.changes = self.last.changes
        return list(self.last.outcomes)

    def one(self, command: Command) -> Outcome:
        return self.run(command)[0]

    def kinds(self) -> list[str]:
        assert self.last is not None
        return [event.kind.value for event in self.last.events]

    def beat(
        self, site: SiteId, *, incarnation: str = "i1", seq: int | None = None, ended: tuple[str, ...] = (), **fields
    ) -> GroupAnswer:
        key = (site, incarnation)
        self.seqs[key] = self.seqs.get(key, 0) + 1 if seq is None else seq
        outcome = self.one(frame(site, entry(**fields), incarnation=incarnation, seq=self.seqs[key], ended=ended))
        return outcome.answers[0]

    def vote(
        self,
        witness: WitnessId,
        *,
        epoch: int,
        number: int = 0,
        kind: VoteKind = VoteKind.EXPIRY,
        group: GroupId = G,
    ) -> Outcome:
        return self.one(Votes(witness, (Vote(kind, group, Epoch(epoch), number),)))

    def expire(self) -> None:
        lease = self.lease
        for witness in W[:2]:
            self.vote(witness, epoch=lease.epoch, number=lease.renewal)
        assert self.group.phase is Phase.VACANT

    def grant_command(self, site: SiteId = A, **changes) -> Grant:
        base = Grant(
            group=G,
            expected_epoch=self.group.epoch,
            epoch=Epoch(self.group.epoch + 1),
            site=site,
            incarnation=Incarnation(token("i1")),
            cause=Cause.FIRST,
            reason=Reason.FIRST_ACTIVATION,
            author=AUTHOR,
        )
        return replace(base, **changes)

    def hold(self, site: SiteId = A, claim: str = "claim") -> int:
        """Both sites are heard, `site` is granted and claims; returns the epoch."""
        for one in self.group.config.sites:
            self.beat(one)
        assert self.one(self.grant_command(site)).ok
        epoch = self.group.epoch
        answer = self.beat(site, epoch=epoch, claim=token(claim), said=report(epoch_bound=epoch))
        assert answer.renewal == 1
        return epoch

    def revoke_command(self, to: SiteId = B, **changes) -> Revoke:
        base = Revoke(G, self.group.epoch, to, Cause.HANDOVER, Reason.OPERATOR_ASKED, AUTHOR)
        return replace(base, **changes)

    def release_command(self, **changes) -> ReleaseLease:
        base = ReleaseLease(
            G,
            A,
            Incarnation(token("i1")),
            self.group.epoch,
            Claim(token("claim")),
            ReleaseKind.CLEAN,
            "verified down",
        )
        return replace(base, **changes)

    def unchanged(self, command: Command) -> Outcome:
        """Applies a command that must be refused and change nothing but the index."""
        before = self._body()
        outcome = self.one(command)
        assert not outcome.ok
        assert self._body() == before
        assert outcome.detail
        return outcome

    def _body(self) -> str:
        index, self.machine.state.applied_index = self.machine.state.applied_index, 0
        try:
            return self.machine.state_hash()
        finally:
            self.machine.state.applied_index = index
