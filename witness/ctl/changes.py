"""What `apply` would change: the wanted fields against those that the cluster has. Pure, so that a dry run is exact.

Fields of the lease (ttl_ms, drift_max_ppm, lock_delay_ms) take effect with the next epoch; that is said beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

NEXT_EPOCH = frozenset({"ttl_ms", "drift_max_ppm", "lock_delay_ms"})
AT_CREATION = frozenset({"mode"})


class Action(Enum):
    CREATE = "create"
    CHANGE = "change"
    NOTHING = "unchanged"


@dataclass(frozen=True, slots=True)
class FieldChange:
    field: str
    before: Any
    after: Any

    @property
    def note(self) -> str:
        if self.field in NEXT_EPOCH:
            return "with the next epoch"
        if self.field in AT_CREATION:
            return "only at creation: use witnessctl mode"
        return ""


@dataclass(frozen=True, slots=True)
class GroupChange:
    group: str
    action: Action
    expected_version: int
    fields: tuple[FieldChange, ...]


def plan_change(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> GroupChange:
    """`found` is the API's view of the group with its config and version, or None when there is no such group."""
    group = str(wanted["group"])
    if found is None:
        fields = tuple(FieldChange(name, None, value) for name, value in wanted.items() if name != "group")
        return GroupChange(group, Action.CREATE, 0, fields)
    config = found["config"]
    changed = tuple(
        FieldChange(name, config.get(name), value) for name, value in wanted.items() if config.get(name) != value
    )
    return GroupChange(group, Action.CHANGE if changed else Action.NOTHING, int(found["version"]), changed)
