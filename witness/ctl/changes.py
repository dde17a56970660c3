"""What `apply` would change: the wanted fields against those that the cluster has. Pure, so that a dry run is exact.

Fields of the lease (ttl_ms, drift_max_ppm, lock_delay_ms) take effect with the next epoch; that is said beside them.
The mode of a group that exists is not the file's to change: a difference there is told and nothing is sent for it,
or every `apply` after a `witnessctl mode` would say that it had done what it cannot do.
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


class Applies(Enum):
    """When what the file says comes into force."""

    NOW = "now"
    NEXT_EPOCH = "next-epoch"
    NEVER = "never"
    """It stays as it is: the file sets it at creation only."""


_NOTES = {
    Applies.NOW: "",
    Applies.NEXT_EPOCH: "with the next epoch",
    Applies.NEVER: "stays: the file sets it at creation only; use witnessctl mode",
}


@dataclass(frozen=True, slots=True)
class FieldChange:
    field: str
    before: Any
    after: Any

    @property
    def applies(self) -> Applies:
        """Of a group that exists; all of a new one applies now."""
        if self.field in NEXT_EPOCH:
            return Applies.NEXT_EPOCH
        return Applies.NEVER if self.field in AT_CREATION else Applies.NOW

    @property
    def note(self) -> str:
        return _NOTES[self.applies]


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
    # The mode in force is beside the config: what the config holds is only what was asked for at the last `apply`.
    config = {**found["config"], "mode": found["mode"]}
    changed = tuple(
        FieldChange(name, config.get(name), value) for name, value in wanted.items() if config.get(name) != value
    )
    sent = any(change.field not in AT_CREATION for change in changed)
    return GroupChange(group, Action.CHANGE if sent else Action.NOTHING, int(found["version"]), changed)
