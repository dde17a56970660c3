"""Holds, by an account of its own: who was promised what, until when by true time; what that gives, and forbids.

A round of requests gives authority only when *every* other site of the group has promised, and then until the earliest
of the newest requests that were answered so, plus ttl, by the slowest clock allowed. A promise forbids its giver to
begin for D by the fastest clock allowed, from when the request arrived there, unless its holder ended it; also after
whatever has happened to the giver's process and machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from proto.groups import GroupConfig
from proto.holds import promise_wait
from proto.lease import LeaseConstants
from proto.site_messages import HoldAnswer, HoldEnd, HoldRequest, HoldVerdict
from proto.units import PPM, Claim, Epoch, GroupId, Nonce, SiteId
from witness.sim.clock import RATE_ROUNDING_NS
from witness.sim.raft.checkers import Findings

ASKS_KEPT = 2_048


@dataclass(slots=True)
class _Ask:
    host: str
    to: SiteId
    group: GroupId
    epoch: Epoch
    claim: Claim
    number: int
    sent_ns: int
    counted_ns: int
    """From when its holder counts: later by what all of its clocks stood still since."""
    constants: LeaseConstants


class _Given(NamedTuple):
    counted_ns: int
    sent_ns: int


class Held(NamedTuple):
    """By all of its holds."""

    epoch: Epoch
    until_ns: int
    asked_ns: int
    """When the oldest of the requests left that it rests on."""


@dataclass(slots=True)
class _Promise:
    epoch: Epoch
    claim: Claim
    number: int
    """Of the newest round that was promised under this claim."""
    until_ns: int


class HoldsChecker:
    def __init__(self, findings: Findings, now: Callable[[], int], groups: Iterable[GroupConfig]) -> None:
        self._found = findings.found
        self._now = now
        self._sites = {config.group: config.sites for config in groups}
        self._asks: dict[tuple[str, Nonce], _Ask] = {}
        """By who asked: copies of a running machine may draw the same numbers."""
        self._given: dict[tuple[GroupId, str, Epoch], dict[SiteId, _Given]] = {}
        """By holder's host and epoch: of the newest request that each site answered so."""
        self._promises: dict[tuple[GroupId, str], _Promise] = {}
        self._held_until: dict[tuple[GroupId, str], int] = {}
        """By holder's host: what all of its holds give."""

    def copied(self, host: str, copy: str) -> None:
        """What it was promised, and what it promised before."""
        for (name, nonce), ask in list(self._asks.items()):
            if name == host:
                self._asks[copy, nonce] = replace(ask, host=copy)
        for (group, name, epoch), given in list(self._given.items()):
            if name == host:
                self._given[group, copy, epoch] = dict(given)
        for (group, name), promise in list(self._promises.items()):
            if name == host:
                self._promises[group, copy] = replace(promise)

    def asked(self, host: str, to: SiteId, request: HoldRequest) -> None:
        constants, now_ns = LeaseConstants(request.ttl_ms, request.drift_max_ppm, request.lock_delay_ms), self._now()
        by = request.epoch, request.claim, request.number
        self._asks[host, request.nonce] = _Ask(host, to, request.group, *by, now_ns, now_ns, constants)
        while len(self._asks) > ASKS_KEPT:
            del self._asks[next(iter(self._asks))]

    def frozen(self, host: str, span_ns: int) -> None:
        """All clocks of the host stood still for so long. What it was promised is over no later for that."""
        for ask in self._asks.values():
            if ask.host == host:
                ask.counted_ns += span_ns
        for (group, name), until_ns in self._held_until.items():
            if name == host:
                self._held_until[group, name] = until_ns + span_ns
        for (_, name, _), given in self._given.items():
            if name == host:
                given.update({site: one._replace(counted_ns=one.counted_ns + span_ns) for site, one in given.items()})

    def promised(self, host: str, asker: str, answer: HoldAnswer) -> None:
        """It leaves now, so the request arrived before: a lower bound of what must be waited."""
        ask = self._asks.get((asker, answer.nonce))
        if ask is None:
            return
        wait_ns = promise_wait(ask.constants) * PPM // (PPM + ask.constants.drift_max_ppm)
        # Counted from when it was sent: what arrived later is promised for longer.
        until_ns = ask.sent_ns + wait_ns
        known = self._promises.get((answer.group, host))
        if known is None or known.until_ns < until_ns:
            self._promises[answer.group, host] = _Promise(ask.epoch, ask.claim, ask.number, until_ns)
        elif known.claim == ask.claim:
            known.number = max(known.number, ask.number)

    def end_arrived(self, host: str, end: HoldEnd) -> None:
        """The holder's own word, not before the newest round: whoever promised is free from now on, stored or not."""
        known = self._promises.get((end.group, host))
        if known is not None and (known.epoch, known.claim) == (end.epoch, end.claim) and end.number >= known.number:
            del self._promises[end.group, host]

    def ended(self, group: GroupId, host: str, epoch: Epoch) -> None:
        known = self._promises.get((group, host))
        if known is not None and known.epoch <= epoch:
            del self._promises[group, host]

    def bound_by_a_copy(self, group: GroupId, host: str) -> bool:
        """Another copy of this host's machine has promised not to begin, or lives by holds, and this one knows nothing.

        A limit that is stated (docs/lease-safety.md): a promise binds the copy that gave it, and was given to one.
        """
        given = {name: one.until_ns for (of, name), one in self._promises.items() if of == group}
        taken = {name: until_ns for (of, name), until_ns in self._held_until.items() if of == group}
        others = [*given.items(), *taken.items()]
        return any(_site(name) == _site(host) and name != host and self._now() < until for name, until in others)

    def held(self, host: str, site: SiteId, answer: HoldAnswer) -> Held | None:
        """An answer arrived at the holder: what it may live by, or nothing."""
        ask = self._asks.get((host, answer.nonce))
        if ask is None or answer.verdict is not HoldVerdict.HELD or (ask.host, ask.to) != (host, site):
            return None
        given = self._given.setdefault((ask.group, host, ask.epoch), {})
        given[site] = max(given.get(site, _Given(0, 0)), _Given(ask.counted_ns, ask.sent_ns))
        own = [one for one in self._sites[ask.group] if one == _site(host)]
        if len(given) + len(own) < len(self._sites[ask.group]):
            return None
        constants = ask.constants
        until_ns = min(given.values()).counted_ns + constants.ttl_ns * PPM // (PPM - constants.drift_max_ppm)
        self._held_until[ask.group, host] = until_ns
        return Held(ask.epoch, until_ns, min(one.sent_ns for one in given.values()))

    def begun(self, group: GroupId, host: str) -> None:
        promise = self._promises.get((group, host))
        if promise is not None and self._now() < promise.until_ns - RATE_ROUNDING_NS:
            left_ms = (promise.until_ns - self._now()) / 1e6
            says = f"{left_ms:.3f} ms before its promise to the holder of epoch {promise.epoch} is over"
            self._found("promise", f"{host} begins {group} {says}")


def _site(host: str) -> str:
    """A copy of a machine is named after its site."""
    return host.partition("-twin")[0]
