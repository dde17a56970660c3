"""I5: nothing runs without authority, and authority ends by sent + ttl, by true time and the slowest clock allowed.

The checker has its own account of every attempt that left a site and of every answer that came back. What the agent
made of them is not asked; the account is an upper bound of what it may do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from proto.lease import LeaseConstants
from proto.messages import GroupAnswer, Verdict
from proto.units import NS_PER_MS, NS_PER_S, PPM, Epoch, GroupId, Nonce
from witness.sim.clock import RATE_ROUNDING_NS
from witness.sim.raft.checkers import Findings

ATTEMPTS_KEPT = 256
Place = tuple[GroupId, str]
T = TypeVar("T")


@dataclass(slots=True)
class _Authority:
    epoch: Epoch
    until_ns: int


class AuthorityChecker:
    def __init__(
        self, findings: Findings, now: Callable[[], int], place_of: Callable[[str], str] = lambda host: host
    ) -> None:
        """`place_of`: the host whose authority it is that a host of a site runs under; a member has none of its own."""
        self._place_of = place_of
        self._former: dict[tuple[GroupId, str, Epoch], _Authority] = {}
        """Of epochs before the newest: a member must not outlive those either."""
        self._behind_until: dict[Place, int] = {}
        """A member that goes on by clocks that had been frozen: until then it may."""
        self._found = findings.found
        self._now = now
        self._sent: dict[str, dict[Nonce, int]] = {}
        self._authority: dict[Place, _Authority] = {}
        self._longest_ns: dict[Place, int] = {}
        self._runs: dict[Place, Epoch] = {}
        self._still: dict[Place, Epoch] = {}

    def copied(self, host: str, copy: str) -> None:
        """All that it had, and not one moment more."""
        self._sent[copy] = dict(self._sent.get(host, {}))
        for group, name in [place for place in self._authority if place[1] == host]:
            self._authority[group, copy] = replace(self._authority[group, name])
        _also(self._longest_ns, host, copy)
        _also(self._runs, host, copy)
        _also(self._still, host, copy)

    def sent(self, host: str, nonce: Nonce) -> None:
        """An attempt is about to leave."""
        attempts = self._sent.setdefault(host, {})
        attempts[nonce] = self._now()
        if len(attempts) > ATTEMPTS_KEPT:
            del attempts[next(iter(attempts))]

    def answered(self, host: str, nonce: Nonce, answers: Iterable[GroupAnswer], *, since_ns: int = 0) -> list[GroupId]:
        """Returns the groups that were renewed by an attempt which left after `since_ns`."""
        sent_ns = self._sent.get(host, {}).get(nonce)
        renewed: list[GroupId] = []
        if sent_ns is None:
            return renewed
        for answer in answers:
            place, full_ns = (answer.group, host), _full_ns(answer)
            self._longest_ns[place] = max(full_ns, self._longest_ns.get(place, 0))
            if answer.verdict is Verdict.RENEWED:
                renewed += [answer.group] if sent_ns > since_ns else []
                self._gains(place, answer.epoch, sent_ns + full_ns)
        return renewed

    def _gains(self, place: Place, epoch: Epoch, until_ns: int) -> None:
        known = self._authority.get(place)
        if known is None or known.epoch < epoch:
            if known is not None:
                self._former[*place, known.epoch] = known
            self._authority[place] = _Authority(epoch, until_ns)
        elif known.epoch == epoch:
            known.until_ns = max(known.until_ns, until_ns)

    def permitted(self, group: GroupId, host: str, epoch: Epoch, constants: LeaseConstants) -> None:
        """It is under a permit, and its agent's process, which runs now, gives itself a lease of this length."""
        full_ns = constants.ttl_ns * PPM // (PPM - constants.drift_max_ppm)
        self._longest_ns[group, host] = max(full_ns, self._longest_ns.get((group, host), 0))
        self._gains((group, host), epoch, self._now() + full_ns)

    def held(self, group: GroupId, host: str, epoch: Epoch, until_ns: int) -> None:
        """Every other site holds: as much as a renewal, for an authority that there is."""
        known = self._authority.get((group, host))
        if known is not None and known.epoch == epoch:
            known.until_ns = max(known.until_ns, until_ns)
            self._longest_ns[group, host] = max(self._longest_ns.get((group, host), 0), until_ns - self._now())

    def moved(self, group: GroupId, host: str, epoch: Epoch) -> bool:
        """What runs goes on under a later epoch; False when nothing runs, or it is no other one."""
        before = self._runs.get((group, host))
        if before is None or before == epoch:
            return False
        place = group, self._place_of(host)
        authority = self._authority.get(place)
        # A member whose clocks had stood still may come to an epoch that its lead has left behind since.
        had = (authority is not None and authority.epoch == epoch) or (*place, epoch) in self._former
        if epoch < before or not had:
            self._found(
                "authority", f"{host} goes on with {group} under epoch {epoch} after {before}: no answer says so"
            )
        self._runs[group, host] = epoch
        return True

    def runs(self, group: GroupId, host: str) -> Epoch | None:
        return self._runs.get((group, host))

    def frozen(self, host: str, span_ns: int) -> None:
        """All clocks of the host stood still for so long, and its attempts left so much later by what it counted."""
        for nonce in self._sent.get(host, ()):
            self._sent[host][nonce] += span_ns
        for (_, name), authority in self._authority.items():
            if name == host:
                authority.until_ns += span_ns
        for (_, name, _), authority in self._former.items():
            if name == host:
                authority.until_ns += span_ns
        if self._place_of(host) != host:
            for group, name in list(self._longest_ns):
                if name == self._place_of(host):
                    self._behind_until[group, host] = self._now() + self._longest_ns[group, name]

    def until_ns(self, group: GroupId, host: str) -> int:
        """By when the newest authority of the host has ended, by true time; 0 when it never had one."""
        authority = self._authority.get((group, self._place_of(host)))
        return max(0 if authority is None else authority.until_ns, self._behind_until.get((group, host), 0))

    def longest_ns(self, group: GroupId, host: str) -> int:
        """By true time: no answer ever gave it authority for longer."""
        return self._longest_ns.get((group, self._place_of(host)), 0)

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        self._runs[group, host] = epoch
        authority = self._of(group, host, epoch)
        if authority is None:
            self._found("authority", f"{host} begins {group} under epoch {epoch}, for which no answer came")
        else:
            self._late(group, host, authority, "begins")

    def dead(self, group: GroupId, host: str) -> None:
        """It ends now, whatever ended it; also asked of what still runs at the end."""
        epoch = self._runs.pop((group, host), None)
        self._still.pop((group, host), None)
        authority = None if epoch is None else self._of(group, host, epoch)
        if authority is not None:
            self._late(group, host, authority, "still ran")

    def stands_still(self, group: GroupId, host: str) -> None:
        """Its machine executes nothing from now on; what the kernel does at the resume comes before anything else."""
        epoch = self._runs.get((group, host))
        self.dead(group, host)
        if epoch is not None:
            self._still[group, host] = epoch

    def goes_on(self, group: GroupId, host: str) -> None:
        epoch = self._still.pop((group, host), None)
        if epoch is not None:
            self._runs[group, host] = epoch
            self.look()

    def look(self) -> None:
        """Of all that runs now."""
        for (group, host), epoch in self._runs.items():
            authority = self._of(group, host, epoch)
            if authority is not None:
                self._late(group, host, authority, "still runs")

    def _of(self, group: GroupId, host: str, epoch: Epoch) -> _Authority | None:
        place = self._place_of(host)
        newest = self._authority.get((group, place))
        if newest is not None and newest.epoch == epoch:
            return newest
        return None if place == host else self._former.get((group, place, epoch))

    def _late(self, group: GroupId, host: str, authority: _Authority, what: str) -> None:
        late_ns = self._now() - max(authority.until_ns, self._behind_until.get((group, host), 0))
        if late_ns > RATE_ROUNDING_NS:
            says = f"{late_ns / NS_PER_S:.6f} s after its authority ended"
            self._found("authority", f"{host} {what} {group} under epoch {authority.epoch} {says}")


def _also(known: dict[Place, T], host: str, copy: str) -> None:
    known.update({(group, copy): value for (group, name), value in known.items() if name == host})


def _full_ns(answer: GroupAnswer) -> int:
    return answer.ttl_ms * NS_PER_MS * PPM // (PPM - answer.drift_max_ppm)
