"""What became of one step, from the referee's report and the witnesses' word before and after. Pure.

A place is a site as the referee knows it (a second agent of a site elsewhere is another place), a life all processes of
one epoch at one place: alive from the first stamp until the kernel closed the last connection. Two lives at one instant
are dual-active, whatever their processes do: a stopped one counts as well (`alive`), what was executed is told beside
it (`signs`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from chaosrig.chaos_expect import Loss, justified, loss_of
from chaosrig.chaos_ground import Lease
from chaosrig.chaos_plan import THIRD_LOCATION, Step
from fencerig.activity import MS, Report

STOOD_SHARE = 0.8
BUSY_PER_CORE = 3
"""Runnable processes for each core above which nothing starts or answers in time."""
LOSS_SLACK_MS = 0.0
"""A lease that was renewed at the very blow ends one ttl later, and not a moment after that."""


@dataclass(frozen=True, slots=True)
class Life:
    place: str
    epoch: int
    first_ns: int
    last_sign_ns: int
    gone_ns: int
    pause_ns: int
    """The longest between two signs of one of its processes."""


def lives(report: Report) -> list[Life]:
    """In the order in which they began; one that goes on is gone only after all that was looked at."""
    found = []
    for place, epoch in sorted({(one.site, one.epoch) for one in report.seen}):
        mine = [one for one in report.seen if (one.site, one.epoch) == (place, epoch)]
        gone = max(report.now_ns if one.gone_ns is None else one.gone_ns for one in mine)
        last = max(one.last_ns for one in mine)
        pause = max(one.pause_max_ns for one in mine)
        found.append(Life(place, epoch, min(one.first_ns for one in mine), last, gone, pause))
    return sorted(found, key=lambda life: life.first_ns)


def dual_ms(found: list[Life], struck_ns: int, until_ns: int) -> tuple[float, float]:
    """Alive at once and executed at once, summed over all pairs, of what is later than the fault.

    Who stood still nearly as long as the fault lasted executed nothing until it had ended.
    """
    alive = signs = 0
    for one, other in combinations(found, 2):
        begin = max(one.first_ns, other.first_ns, struck_ns)
        alive += max(0, min(one.gone_ns, other.gone_ns) - begin)
        stood = max(one.pause_ns, other.pause_ns) > STOOD_SHARE * (until_ns - struck_ns)
        signs += max(0, min(one.last_sign_ns, other.last_sign_ns) - (max(begin, until_ns) if stood else begin))
    return alive / MS, signs / MS


@dataclass(slots=True)
class Outcome:
    """One step."""

    step: Step
    hit: list[str] = field(default_factory=list)
    life_before: int = 0
    epoch_before: int = 0
    epoch_after: int = 0
    site_before: str = ""
    site_after: str = ""
    dual_alive_ms: float = 0.0
    dual_signs_ms: float = 0.0
    dual_looks: int = 0
    takeover_ms: float | None = None
    """From the first fault of the step to the first sign of the next epoch."""
    lease: Lease | None = None
    """When the first fault was made; None: the step did not ask."""
    dead_ms: float | None = None
    """From the first fault to the end of the epoch that it found."""
    recovery_ms: float | None = None
    """From the last fault's end until one site is active and everything is well; None: not within the bound."""
    broken: list[str] = field(default_factory=list)
    excuse: str = ""
    load: float = 0.0

    @property
    def regranted(self) -> bool:
        """What ran goes on in its place, under a new epoch."""
        in_place = self.site_after == self.site_before and self.dead_ms is None
        return self.epoch_after != self.epoch_before and in_place

    @property
    def moved(self) -> bool:
        return self.epoch_after != self.epoch_before and not self.regranted

    @property
    def justified(self) -> bool:
        return bool(self.excuse) or justified([(fault.kind, fault.line) for fault in self.step.faults])

    @property
    def false_takeover(self) -> bool:
        return self.moved and not self.justified

    @property
    def unrecovered(self) -> bool:
        return self.recovery_ms is None

    @property
    def beyond_lease_ms(self) -> float | None:
        """What the takeover took beyond what was left of the lease."""
        if self.takeover_ms is None or self.lease is None:
            return None
        return round(self.takeover_ms - self.lease.left_ms, 1)

    @property
    def bad(self) -> bool:
        return bool(self.broken) or self.unrecovered or self.false_takeover or self.dual_alive_ms > 0

    def told(self) -> dict[str, Any]:
        names = ("hit", "epoch_before", "epoch_after", "site_before", "site_after", "dual_alive_ms", "dual_signs_ms",
                 "dual_looks", "takeover_ms", "beyond_lease_ms", "dead_ms", "recovery_ms", "broken", "excuse", "load",
                 "justified", "regranted", "false_takeover")  # fmt: skip
        lines = [fault.line for fault in self.step.faults]
        return {"kind": self.step.name, "lines": lines, **{name: getattr(self, name) for name in names}}


def measure(outcome: Outcome, report: Report, struck_ns: int, until_ns: int, looks_before: int, ttl_ms: int) -> None:
    """Fills in what the referee saw between those two instants."""
    found = [life for life in lives(report) if life.gone_ns >= struck_ns]
    outcome.dual_alive_ms, outcome.dual_signs_ms = dual_ms(found, struck_ns, until_ns)
    outcome.dual_looks = report.looks["dual"] - looks_before
    before = [life for life in found if life.epoch == outcome.life_before]
    after = [life for life in found if life.epoch > outcome.life_before]
    if after:
        outcome.takeover_ms = round((after[0].first_ns - struck_ns) / MS, 1)
    ended = [life for life in before if life.gone_ns < report.now_ns]
    if ended:
        outcome.dead_ms = round((max(life.gone_ns for life in ended) - struck_ns) / MS, 1)
    if len(outcome.step.faults) == 1:
        outcome.broken += loss_broken(outcome, (until_ns - struck_ns) / MS, ttl_ms)
    elif outcome.step.name == " + ".join(THIRD_LOCATION):
        outcome.broken += third_location_broken(outcome, ttl_ms)


def too_busy(step: Step, load: float, cores: int) -> str:
    """Why a site may lose its lease that should go on through the other one: '' on a machine that is not overrun.

    A renewal interval, the waits for silent witnesses and three handshakes must fit in before the graceful stop begins.
    """
    stays = any(loss_of(fault.kind, fault.line) is Loss.STAYS for fault in step.faults)
    return f"load {load:.0f} on {cores} cores" if stays and load > BUSY_PER_CORE * cores else ""


def third_location_broken(outcome: Outcome, ttl_ms: int) -> list[str]:
    """The witnesses are out of reach: it goes on. The other site is, too: it ends within a lease, and not before."""
    link_ms = outcome.step.faults[1].after_ms
    if outcome.dead_ms is None:
        return ["cut off from witnesses and the other site the platform lives on"]
    if outcome.dead_ms < link_ms and not outcome.excuse:
        return [f"it ended after {outcome.dead_ms:.0f} ms, and the sites reached each other for {link_ms} ms"]
    if outcome.dead_ms > link_ms + ttl_ms + LOSS_SLACK_MS:
        return [f"the platform ended {outcome.dead_ms - link_ms:.1f} ms after the link, with a lease of {ttl_ms} ms"]
    return []


def loss_broken(outcome: Outcome, lasted_ms: float, ttl_ms: int) -> list[str]:
    """Of a fault that cut the active site off for longer than its lease."""
    (fault,) = outcome.step.faults
    loss = loss_of(fault.kind, fault.line)
    if loss is None or lasted_ms <= ttl_ms:
        return []
    if loss is Loss.STAYS:
        ended = outcome.dead_ms is not None
        return [f"cut off for {lasted_ms:.0f} ms the site did not stay active"] if ended and not outcome.excuse else []
    if outcome.dead_ms is None or outcome.dead_ms > ttl_ms + LOSS_SLACK_MS:
        ended = "lives on" if outcome.dead_ms is None else f"ended after {outcome.dead_ms:.1f} ms"
        return [f"cut off for {lasted_ms:.0f} ms the platform {ended}, with a lease of {ttl_ms} ms"]
    return []
