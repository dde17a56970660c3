"""A WitnessNode whose proposals are committed by hand."""

from __future__ import annotations

from core_rig import AUTHOR, CLUSTER, SESSION, G, W, config, entry, entry_bytes, frame

from proto import codec
from proto.commands import (
    ConfigureGroup,
    FoundCluster,
    Vote,
    VoteKind,
    Votes,
)
from proto.units import Epoch, InstantNs, WallMs
from witness.core.effects import Outcome, ProposeEntry, Push, Record, Resolved
from witness.core.node import WitnessNode
from witness.core.transitions import Phase

FOUND = FoundCluster(CLUSTER, W)
CREATE = ConfigureGroup(config(), 0, AUTHOR)


class NodeRig:
    """A node whose proposals are committed by hand."""

    def __init__(self, *, leading: bool = True, quorum: bool = True, caught_up: bool = True) -> None:
        self.now = 1_000_000
        self.node = WitnessNode(self_id=W[0], cluster=CLUSTER, witnesses=W, session=SESSION, now=InstantNs(self.now))
        self.index = 0
        self.proposed: list[bytes] = []
        self.resolved: dict[int, Outcome] = {}
        self.pushed: list[Push] = []
        self.recorded = 0
        self.place(leading=leading, quorum=quorum, caught_up=caught_up)

    def place(self, *, leading: bool = True, quorum: bool = True, caught_up: bool = True, leader=W[0]) -> None:
        self.node.consensus_changed(
            leading=leading, leader=leader, has_quorum=quorum, caught_up=caught_up, now=InstantNs(self.now)
        )
        self.take()

    def take(self) -> None:
        for effect in self.node.take_effects():
            if isinstance(effect, ProposeEntry):
                self.proposed.append(effect.data)
            elif isinstance(effect, Resolved):
                assert effect.request not in self.resolved
                self.resolved[effect.request] = effect.outcome
            elif isinstance(effect, Push):
                self.pushed.append(effect)
            elif isinstance(effect, Record):
                self.recorded += len(effect.events)

    def commit(self, data: bytes, age_ns: int | None = 0) -> None:
        self.index += 1
        self.node.apply(self.index, data, age_ns, InstantNs(self.now))
        self.take()

    def commit_all(self) -> None:
        for _ in range(20):
            if not self.proposed:
                return
            self.commit(self.proposed.pop(0))
        raise AssertionError("proposals without end")

    def foreign(self, *commands, age_ns: int | None = 0) -> None:
        """What another witness proposed."""
        self.commit(entry_bytes(list(commands), self.index + 1, W[1], b"t" * 16), age_ns)

    def commands(self) -> list:
        return [command for data in self.proposed for command in codec.decode_entry(data).commands]

    def passes(self, ns: int) -> None:
        end = self.now + ns
        while self.now < end:
            self.now = min(max(self.node.next_deadline(), self.now + 1), end)
            self.node.tick(InstantNs(self.now), WallMs(5))
            self.take()

    @property
    def group(self):
        return self.node.machine.state.groups[G]

    def vacant(self) -> NodeRig:
        """Founded, the group created and its bar voted away by the others."""
        self.foreign(FOUND, CREATE)
        self.proposed.clear()
        for witness in W[1:]:
            self.foreign(Votes(witness, (vote_for(Epoch(1), 0),)))
        self.node.proposal_refused(InstantNs(self.now))
        self.node.take_effects()
        assert self.group.phase is Phase.VACANT
        return self

    def heard(self, *sites, age_ns: int | None = 0, seq: int = 1) -> NodeRig:
        for site in sites:
            self.foreign(frame(site, entry(), seq=seq), age_ns=age_ns)
        return self


def vote_for(epoch, number):
    return Vote(VoteKind.EXPIRY, G, epoch, number)
