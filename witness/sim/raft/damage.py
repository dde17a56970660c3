"""Which witnesses have disks that lost something: a minority at any instant, and until when.

Rule: a witness counts as damaged from the moment its disk may have forgotten what was synced until it votes again on
a new disk. Beyond a minority no consensus can promise anything, so a fault asks before it damages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from proto.units import WitnessId

if TYPE_CHECKING:
    from witness.sim.raft.host import Host
    from witness.sim.raft.judge import Judge


class Damage:
    def __init__(
        self, minority: int, hosts: Mapping[WitnessId, Host], judge: Judge, hit: Callable[[str], None]
    ) -> None:
        self.damaged: set[WitnessId] = set()
        self.refused: set[WitnessId] = set()
        """Stay down: their disks are damaged, and they noticed."""
        self.out: set[WitnessId] = set()
        """Have disks that forgot something, and wait to be readmitted."""
        self.rotten: set[WitnessId] = set()
        """Have disks on which a bit rotted: damaged until there is another disk, whether they noticed or not."""
        self.learners: set[WitnessId] = set()
        """Were readmitted; whether they vote again is asked when it matters."""
        self.lives = 0
        """How often all witnesses began anew: a copy of a disk of an earlier life is no copy of this one's."""
        self._minority = minority
        self._hosts = hosts
        self._judge = judge
        self._hit = hit

    def may_damage(self, host: Host) -> bool:
        """True, and noted, while the damaged are a minority."""
        self.look_at_learners()
        if host.name not in self.damaged and len(self.damaged) >= self._minority:
            return False
        self.damaged.add(host.name)
        return True

    def refuses(self, host: Host) -> bool:
        """Its process says that the disk cannot be used: True, and noted, when that is so.

        It may have noticed by itself, or heeded another one's word. The copy of a machine never says so too soon.
        """
        original = host.name in self._hosts
        if original and host.witness not in self.damaged:
            return False
        self._hit("refused-disk")
        self.refused.add(host.name)
        if original:
            self._vote_no_more(host)
        return True

    def replaced(self, host: Host) -> None:
        """It has another disk; its term may be lower."""
        self._judge.votes.forgets(str(host.witness))
        self.refused.discard(host.name)
        self.rotten.discard(host.name)

    def needs_readmission(self, host: Host) -> None:
        """Its disk forgot something, and its peers may have noticed."""
        self.out.add(host.name)
        self._vote_no_more(host)

    def readmitted(self, host: Host) -> None:
        """It has a learner's disk, and votes when it has caught up in a newer term."""
        self.out.discard(host.name)
        self.learners.add(host.name)
        self._judge.learners.add(str(host.witness))

    def all_replaced(self) -> None:
        """Every witness has a new disk, and none of them knows more than another."""
        self.lives += 1
        for known in (self.damaged, self.refused, self.out, self.rotten, self.learners):
            known.clear()

    def look_at_learners(self) -> None:
        """Who votes again is damaged no longer."""
        for name in sorted(self.learners):
            member = self._hosts[name].member
            if member is not None and member.view().votes:
                self._hit("readmitted")
                self.learners.discard(name)
                if name not in self.rotten:
                    self.damaged.discard(name)

    def _vote_no_more(self, host: Host) -> None:
        self.learners.discard(host.name)
        self._judge.learners.discard(str(host.witness))
