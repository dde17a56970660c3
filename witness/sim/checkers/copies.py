"""P2 for a machine that is copied while it runs: two of one incarnation and claim, until the witnesses have heard both.

What is allowed is a window, and counted (docs/lease-safety.md): the two beside each other, each until its own lease has
run out at the latest, which the authority checker sees to; and beside whoever is granted the group after one of the two
released it. What is not: once one of them was answered, the other is not renewed by a word that is behind; who was told
so says no more as that incarnation and releases nothing of it; a later incarnation of the site ends the earlier ones;
and the ledger has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proto.decisions import Reason
from proto.events import Event, EventKind
from proto.messages import Heartbeat, HeartbeatAnswer, Release, Verdict
from proto.units import Epoch, GroupId, Incarnation, Nonce, SiteId
from witness.sim.raft.checkers import Findings

ATTEMPTS_KEPT = 512
_SUPERSEDED = frozenset({Reason.INCARNATION_SUPERSEDED, Reason.SUPERSEDED_BY_ENDED})
_NOT_HEARD = _SUPERSEDED | {Reason.STALE_HEARTBEAT}


@dataclass(frozen=True, slots=True)
class _Attempt:
    incarnation: Incarnation
    seq: int
    sent_ns: int


@dataclass(slots=True)
class _Host:
    """One copy, by what left it and what reached it."""

    attempts: dict[Nonce, _Attempt] = field(default_factory=dict)
    newest: tuple[Incarnation, int] | None = None
    heard: dict[Incarnation, tuple[int, int]] = field(default_factory=dict)
    """By incarnation: the highest number that was answered and counted, and when that was known."""
    at_down: dict[GroupId, tuple[Incarnation, int]] = field(default_factory=dict)
    """The newest heartbeat when the last of the group ended there."""
    told: dict[Incarnation, int] = field(default_factory=dict)
    """When it was told that another one is ahead of it."""
    superseded: set[Incarnation] = field(default_factory=set)
    """It was told that a later incarnation speaks."""
    runs: dict[GroupId, set[Epoch]] = field(default_factory=dict)
    """The epochs of one run: as it began, and those that it moved to."""


class CopiesChecker:
    def __init__(self, findings: Findings, now: Callable[[], int]) -> None:
        self._found = findings.found
        self._now = now
        self._of: dict[str, str] = {}
        """By host, the machine that its line of copies began with."""
        self._hosts: dict[str, _Host] = {}
        self._over: set[tuple[GroupId, str, Epoch]] = set()
        """Released, or its promises ended, by this host."""
        self._incarnations: dict[str, dict[Incarnation, tuple[int, int]]] = {}
        """Of a line: when a word of each left that the witnesses heard, and since when that is known."""
        self._restarted_ns: dict[SiteId, int] = {}
        self._forgotten_ns = -1
        """When all witnesses began anew last."""

    # -- who is whose copy ------------------------------------------------------------------------------------

    def copied(self, host: str, copy: str) -> None:
        line = self._of.setdefault(host, host)
        self._of[copy] = line
        known = self._host(host)
        self._hosts[copy] = _Host(
            newest=known.newest,
            heard=dict(known.heard),
            at_down=dict(known.at_down),
            told=dict(known.told),
            superseded=set(known.superseded),
            runs={group: set(epochs) for group, epochs in known.runs.items()},
        )

    def siblings(self, host: str) -> list[str]:
        line = self._of.get(host)
        return [] if line is None else [one for one, of in self._of.items() if of == line and one != host]

    def of_one_run(self, group: GroupId, host: str, other: str) -> bool:
        """They are copies of each other, and what they run is one activation of before."""
        if other not in self.siblings(host):
            return False
        return bool(self._host(host).runs.get(group, set()) & self._host(other).runs.get(group, set()))

    def under_its_feet(self, group: GroupId, host: str) -> bool:
        """A copy of it ended the epoch that it runs, and it need not know yet."""
        epochs = self._host(host).runs.get(group, set())
        return any((group, one, epoch) in self._over for one in self.siblings(host) for epoch in epochs)

    def _host(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host())

    # -- what runs --------------------------------------------------------------------------------------------

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        self._host(host).runs[group] = {epoch}

    def moved(self, group: GroupId, host: str, epoch: Epoch) -> None:
        self._host(host).runs.setdefault(group, set()).add(epoch)

    def down(self, group: GroupId, host: str) -> None:
        known = self._host(host)
        if known.newest is not None:
            known.at_down[group] = known.newest

    # -- what is said -----------------------------------------------------------------------------------------

    def sent(self, host: str, beat: Heartbeat) -> None:
        known = self._host(host)
        self._says(host, beat.incarnation, "speaks on")
        known.newest = beat.incarnation, beat.seq
        known.attempts[beat.nonce] = _Attempt(beat.incarnation, beat.seq, self._now())
        if len(known.attempts) > ATTEMPTS_KEPT:
            del known.attempts[next(iter(known.attempts))]

    def released(self, host: str, release: Release) -> None:
        self._says(host, release.incarnation, f"releases {release.group}")
        if release.incarnation in self._host(host).superseded:
            self._found("copies", f"{host} releases {release.group}, though it was told that another agent speaks")
        self._over.add((release.group, host, release.epoch))
        self._after_a_word(host, release)

    def holds_ended(self, group: GroupId, host: str, epoch: Epoch) -> None:
        self._over.add((group, host, epoch))

    def _says(self, host: str, incarnation: Incarnation, what: str) -> None:
        if self._now() > self._host(host).told.get(incarnation, self._now()):
            self._found("copies", f"{host} {what} as the incarnation that it was told another one speaks for")

    def _after_a_word(self, host: str, release: Release) -> None:
        """Its newest heartbeat as it went down, or a later one, was answered, and counted."""
        if not self.siblings(host):
            return
        known = self._host(host)
        incarnation, seq = known.at_down.get(release.group, (release.incarnation, 0))
        if incarnation == release.incarnation and known.heard.get(incarnation, (0, 0))[0] < seq:
            self._found("copies", f"{host} releases {release.group} before a word of after its end was answered")

    # -- what is answered -------------------------------------------------------------------------------------

    def answered(self, host: str, site: SiteId, answer: HeartbeatAnswer) -> bool:
        """True when a copy is told of another one by this."""
        known, attempt = self._host(host), self._host(host).attempts.pop(answer.nonce, None)
        if attempt is None or not answer.groups:
            return False
        reasons = {one.reason for one in answer.groups}
        if reasons & _SUPERSEDED:
            known.superseded.add(attempt.incarnation)
        if reasons & _NOT_HEARD:
            return Reason.STALE_HEARTBEAT in reasons and self._stale(host, attempt)
        if any(one.verdict is Verdict.RENEWED for one in answer.groups):
            self._renewed(host, attempt)
        self._recorded(host, site, attempt)
        highest, _ = known.heard.get(attempt.incarnation, (-1, 0))
        if attempt.seq > highest:
            known.heard[attempt.incarnation] = attempt.seq, self._now()
        heard = self._incarnations.setdefault(self._of.get(host, host), {})
        heard.setdefault(attempt.incarnation, (attempt.sent_ns, self._now()))
        return False

    def _stale(self, host: str, attempt: _Attempt) -> bool:
        """Its newest one: whoever is ahead of it is no late message of its own."""
        known = self._host(host)
        if known.newest != (attempt.incarnation, attempt.seq) or attempt.incarnation in known.told:
            return False
        known.told[attempt.incarnation] = self._now()
        return bool(self.siblings(host))

    def _renewed(self, host: str, attempt: _Attempt) -> None:
        for other in self.siblings(host):
            seq, known_ns = self._host(other).heard.get(attempt.incarnation, (-1, 0))
            if attempt.seq <= seq and known_ns < attempt.sent_ns:
                says = f"{host} is renewed by heartbeat {attempt.seq}; {other} had been answered for {seq} before"
                self._found("copies", says)
        heard = self._incarnations.get(self._of.get(host, host), {})
        _, mine_ns = heard.get(attempt.incarnation, (0, self._now()))
        # Later is whose word left when ours was known to be heard: answers may overtake each other.
        if any(mine_ns < sent_ns and known_ns < attempt.sent_ns for sent_ns, known_ns in heard.values()):
            self._found("copies", f"{host} is renewed, though a later incarnation of its site had been heard")

    def _recorded(self, host: str, site: SiteId, attempt: _Attempt) -> None:
        """It began anew because it was told of another one, and the witnesses heard it: their ledger says so."""
        told = [at_ns for one, at_ns in self._host(host).told.items() if one != attempt.incarnation]
        first = attempt.incarnation not in self._host(host).heard
        if told and first and max(self._restarted_ns.get(site, -1), self._forgotten_ns) < max(told):
            self._found("copies", f"{host} speaks as another incarnation, and no ledger says so")

    def event(self, event: Event) -> None:
        if event.kind is EventKind.SITE_RESTARTED and event.site is not None:
            self._restarted_ns[event.site] = self._now()

    def restored(self) -> None:
        """All witnesses begin anew: what they had heard is forgotten, and told anew.

        No release of an epoch of theirs means anything to those that begin, so none needs a word first.
        """
        self._forgotten_ns = self._now()
        self._incarnations.clear()
        for known in self._hosts.values():
            known.newest = None
            known.heard.clear()
            known.at_down.clear()
            known.attempts.clear()
            known.superseded.clear()
