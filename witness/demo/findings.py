"""What one demo measured, and the object that `--json` prints: the keys are a contract with whoever reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Findings:
    """None where a phase was not reached, or is not possible here."""

    ttl_s: float
    expectation: str | None = None
    """The expectation that failed; None while all of it holds."""
    takeover_kill_s: float | None = None
    takeover_stop_s: float | None = None
    takeover_kill_parts: Json = field(default_factory=dict)
    takeover_stop_parts: Json = field(default_factory=dict)
    handover_s: float | None = None
    handover_parts: Json = field(default_factory=dict)
    leader_takeovers: int | None = None
    renewal_gap_s: float | None = None
    renewals_resumed_s: float | None = None
    overlap_s: float | None = None
    activations: int | None = None
    containment: str | None = None
    platform_start_s: float = 0.0
    platform_stop_s: float = 0.0
    rejoin_s: float | None = None
    takeover_max_s: float | None = None
    skipped: list[str] = field(default_factory=list)

    def as_json(self, phases: dict[str, float], wall_s: float) -> Json:
        return {
            "ok": self.expectation is None,
            "ttl_s": self.ttl_s,
            "overlap_s": _rounded(self.overlap_s),
            "takeover_s": {"kill": _rounded(self.takeover_kill_s), "stop": _rounded(self.takeover_stop_s)},
            "handover_s": _rounded(self.handover_s),
            "leader_kill": {
                "takeovers": self.leader_takeovers,
                "renewal_gap_s": _rounded(self.renewal_gap_s),
                "resumed_s": _rounded(self.renewals_resumed_s),
            },
            "activations": self.activations,
            "failed": self.expectation,
            "skipped": self.skipped,
            "takeover_parts_s": {"kill": _all(self.takeover_kill_parts), "stop": _all(self.takeover_stop_parts)},
            "handover_parts_s": _all(self.handover_parts),
            "platform_own_s": _all({"start": self.platform_start_s, "stop": self.platform_stop_s}),
            "rejoin_s": _rounded(self.rejoin_s),
            "takeover_max_s": _rounded(self.takeover_max_s),
            "containment": self.containment,
            "phases_s": phases,
            "wall_s": round(wall_s, 3),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _all(values: Json) -> Json:
    return {name: _rounded(value) for name, value in values.items()}
