"""I2 at the far end: no effect of an older epoch is accepted after one of a newer epoch, whoever runs by then."""

from __future__ import annotations

from proto.units import Epoch, GroupId
from witness.sim.raft.checkers import Findings


class EffectChecker:
    def __init__(self, findings: Findings) -> None:
        self.effects = 0
        self._found = findings.found
        self._newest: dict[GroupId, tuple[Epoch, str]] = {}

    def accepted(self, group: GroupId, host: str, epoch: Epoch) -> None:
        self.effects += 1
        newest, whose = self._newest.get(group, (Epoch(0), ""))
        if epoch < newest:
            self._found("effect", f"{host} works on {group} under epoch {epoch}, {whose} did under {newest} before")
        else:
            self._newest[group] = (epoch, host)
