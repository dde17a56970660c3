"""A switchover as it goes on, read from the ledger's events: revoking, released, granted, claimed, active.

Events, not polls of the status: a phase that lasts a few milliseconds is still shown, in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PHASES = {
    "revoked": ("revoking", "the holder was told to stop"),
    "revoke-due": ("overdue", "it did not stop in time: no more renewals, its lease runs out"),
    "released": ("released", "everything is verified down there"),
    "expired": ("expired", "its lease ran out"),
    "granted": ("granted", "may be active under epoch {epoch}"),
    "claimed": ("claimed", "has the lease and activates"),
}
_ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Step:
    phase: str
    site: str
    words: str


class Progress:
    """Feed it the events of the cluster in their order; `done` or `failed` ends it."""

    def __init__(self, group: str, to: str) -> None:
        self._group = group
        self._to = to
        self.done = False
        self.failed = ""

    def take(self, event: Mapping[str, Any]) -> Step | None:
        """The step that this event is, or None when it is of another group or of no interest."""
        if event["group"] != self._group:
            return None
        kind, site = str(event["kind"]), str(event["site"] or "")
        if kind == "site-state":
            return self._state(site, str(event["text"]))
        if kind not in _PHASES:
            return None
        phase, words = _PHASES[kind]
        if kind == "granted" and site != self._to:
            self.failed = f"the lease went to {site}, not to {self._to}: {event['text']}"
        if kind == "released" and site == self._to:
            self.failed = f"{site} gave the lease back: {event['text']}"
        return Step(phase, site, words.format(epoch=event["epoch"]))

    def _state(self, site: str, text: str) -> Step | None:
        state = text.split(":", maxsplit=1)[0].rsplit("->", maxsplit=1)[-1].strip()
        if site == self._to and state == _ACTIVE:
            self.done = True
            return Step(_ACTIVE, site, "runs")
        return Step(state, site, "says its agent")
