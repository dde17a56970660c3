"""P2: a license key has one activated instance, and what ended uncleanly keeps its session for the lock delay.

The vendor's server as seen from outside: an instance opens a session with its first activation step; an orderly stop
gives it back at once; whatever else ends the instance leaves the session open for `lock_delay` of true time: that of
the lease under which it ran, or of the permit, the longest when it went on under several. Of a session whose lease is
not known no more is asked than of any that the group ever had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from proto.units import NS_PER_S, Epoch, GroupId
from witness.sim.raft.checkers import Findings


@dataclass(slots=True)
class _Session:
    """Of one host under one epoch; all hosts of a site share the license under it."""

    epoch: Epoch
    delay_ns: int
    ended_ns: int | None = None
    """None while the instance lives."""


class LicenseChecker:
    def __init__(
        self, findings: Findings, now: Callable[[], int], place_of: Callable[[str], str] = lambda host: host
    ) -> None:
        """`place_of`: the lead of a host."""
        self._place_of = place_of
        self.sessions = 0
        self.waited = 0
        """Sessions that followed one which had ended uncleanly."""
        self._found = findings.found
        self._now = now
        self._least_ns: dict[GroupId, int] = {}
        self._delays_ns: dict[tuple[GroupId, Epoch], int] = {}
        self._open: dict[GroupId, dict[str, _Session]] = {}

    def lock_delay(self, group: GroupId, epoch: Epoch, delay_ns: int) -> None:
        """Of that epoch's lease or permit; epoch 0: as the group is configured at first."""
        self._least_ns[group] = min(delay_ns, self._least_ns.get(group, delay_ns))
        self._delays_ns[group, epoch] = delay_ns

    def _delay_ns(self, group: GroupId, epoch: Epoch) -> int:
        return self._delays_ns.get((group, epoch), self._least_ns.get(group, 0))

    def copied(self, group: GroupId, host: str, copy: str) -> None:
        """What runs there has the same session."""
        session = self._open.get(group, {}).get(host)
        if session is not None:
            self._open[group][copy] = replace(session)

    def opened(
        self,
        group: GroupId,
        host: str,
        epoch: Epoch,
        *,
        excused: bool = False,
        lags: Callable[[str], bool] = lambda _host: False,
    ) -> None:
        """`excused`: one of the two had been frozen with all its clocks; `lags`: that one need not know of its end."""
        self.sessions += 1
        known = self._open.setdefault(group, {})
        others = {name: one for name, one in known.items() if one.epoch != epoch and not self._shared(host, name, one)}
        known[host] = _Session(epoch, self._delay_ns(group, epoch))
        for name, other in others.items():
            if excused or lags(name):
                continue
            if other.ended_ns is None:
                self._found("license", f"{host} activates the license of {group} while {name} has it")
                continue
            self.waited += 1
            gone_ns = self._now() - other.ended_ns
            if gone_ns < other.delay_ns:
                must = f"{other.delay_ns / NS_PER_S:.6f} s must pass"
                says = f"{gone_ns / NS_PER_S:.6f} s after {name} ended uncleanly, {must}"
                self._found("license", f"{host} activates the license of {group} {says}")
        for name in others:
            if name != host:
                del known[name]

    def _shared(self, host: str, other: str, session: _Session) -> bool:
        """Of a host of the same site that runs on: its lead went on in place while the activation was under way."""
        return host != other and self._place_of(host) == self._place_of(other) and session.ended_ns is None

    def moved(self, group: GroupId, host: str, epoch: Epoch, members: Iterable[str] = ()) -> None:
        """What runs goes on under a later epoch, and its session with it: the site's own, of all its hosts.

        `members`: of this lead; one that ended a moment ago, and is to begin again, shares it as well.
        """
        known = self._open.get(group, {})
        for name in (host, *members):
            if name in known:
                known[name].epoch = epoch
                known[name].delay_ns = max(known[name].delay_ns, self._delay_ns(group, epoch))

    def ended(self, group: GroupId, host: str, *, clean: bool, excused: bool = False) -> None:
        """`excused`: its clocks had stood still, and the lock delay counts from its lease's end, not from its own."""
        known = self._open.get(group, {})
        session = known.get(host)
        if session is None or session.ended_ns is not None:
            return
        if clean or excused:
            del known[host]
        else:
            session.ended_ns = self._now()

    def went_on(self, group: GroupId, host: str) -> None:
        """What had stood still executes again; its session is its own."""
        session = self._open.get(group, {}).get(host)
        if session is not None:
            session.ended_ns = None
