"""From events, looks and the referee's intervals to the figures of a move. Pure: the story does the looking.

The parts of a move add up to the whole. Instants of the ledger are wall clock and made when an entry was proposed;
on one machine they may be laid beside each other, and only people read the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from proto.lease import LeaseConstants, witness_wait

Json = dict[str, Any]
RENEWAL_JUMP_S = 0.05
"""Two looks at one deadline differ by scheduling noise; a renewal moves it by much more."""
LOOK_NOISE_S = 0.01


def event_s(event: Json) -> float:
    """When an event was proposed, in seconds since 1970."""
    return datetime.fromisoformat(event["at"]).timestamp()


def first_event(events: Sequence[Json], kind: str, site: str | None = None) -> float | None:
    for event in events:
        if event["kind"] == kind and site in (None, event["site"]):
            return event_s(event)
    return None


def rest_of_lease_s(remaining_s: float, constants: LeaseConstants) -> float:
    """What is left for the witnesses when the holder has `remaining_s` left: D counts from about the same renewal."""
    return remaining_s + (witness_wait(constants) - constants.ttl_ns) / 1e9


def takeover_parts(
    events: Sequence[Json], to: str, *, fault_wall_s: float, total_s: float, rest_s: float | None, platform_s: float
) -> Json:
    """Rest of the lease, votes and grant, claim, activation; and what thirdsite adds to lease and platform."""
    granted, claimed = first_event(events, "granted", to), first_event(events, "claimed", to)
    parts: Json = {}
    if rest_s is not None:
        parts["rest_of_lease"] = rest_s
    if granted is not None and claimed is not None:
        if rest_s is not None:
            parts["votes_and_grant"] = granted - fault_wall_s - rest_s
        parts["claim"] = claimed - granted
        parts["activation"] = total_s - (claimed - fault_wall_s)
    if rest_s is not None:
        parts["beyond_lease"] = total_s - rest_s
        parts["beyond_lease_and_platform"] = total_s - rest_s - platform_s
    return parts


def handover_parts(
    events: Sequence[Json], *, source: str, to: str, first_wall_s: float, gap_s: float, platform: tuple[float, float]
) -> tuple[float | None, Json]:
    """From the committed revoke to the first sign of the other site, and its parts."""
    revoked, released = first_event(events, "revoked"), first_event(events, "released", source)
    granted, claimed = first_event(events, "granted", to), first_event(events, "claimed", to)
    if revoked is None or released is None or granted is None or claimed is None:
        return None, {"without_platform": gap_s}
    total_s = first_wall_s - revoked
    return total_s, {
        "stop_and_release": released - revoked,
        "grant": granted - released,
        "claim": claimed - granted,
        "activation": first_wall_s - claimed,
        "without_platform": gap_s,
        "beyond_platform": total_s - sum(platform),
    }


@dataclass(slots=True)
class Renewals:
    """Renewals as the agent's deadline shows them: it jumps when an answer has arrived, to `sent` + ttl."""

    ttl_s: float
    seen: list[tuple[float, float]] = field(default_factory=list)
    """When each jump was seen, and when that renewal was sent."""
    _deadline_s: float | None = None

    def look(self, at_s: float, remaining_s: float) -> None:
        deadline_s = at_s + remaining_s
        if self._deadline_s is None:
            # The one before the first look: it was answered soon after it was sent.
            self.seen.append((deadline_s - self.ttl_s, deadline_s - self.ttl_s))
            self._deadline_s = deadline_s
        elif deadline_s > self._deadline_s + RENEWAL_JUMP_S:
            self.seen.append((at_s, deadline_s - self.ttl_s))
            self._deadline_s = deadline_s

    def sent_after(self, at_s: float) -> list[float]:
        """When those were seen that were sent after that instant: an answer may have been on its way already."""
        return [seen_s for seen_s, sent_s in self.seen if sent_s > at_s + LOOK_NOISE_S]

    def gap_across_s(self, at_s: float) -> float | None:
        """The longest time between two renewals from the last before that instant to the first sent after it."""
        after = self.sent_after(at_s)
        before = [seen_s for seen_s, _ in self.seen if seen_s <= at_s]
        if not before or not after:
            return None
        across = [seen_s for seen_s, _ in self.seen if before[-1] <= seen_s <= after[0]]
        return max(later - sooner for sooner, later in pairwise(across))
