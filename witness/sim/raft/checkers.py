"""What must hold, judged from outside by what members put on the wire and into their states.

Rule: nothing here asks the code under test whether it was right, and everything here is small enough to be checked by
hand-made traces. A violation is kept, never raised: the schedule goes on and tells all that broke. The rules are
Raft's own (election safety, log matching as far as it is applied, state machine safety, leader completeness), and
ours: acknowledged is durable, nothing leaves before the sync, an age is never understated, a turn's work is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proto.units import NS_PER_S, PPM

VIOLATIONS_KEPT = 20
TERM_KINDS = frozenset({"append_entries", "next_node_idx", "request_vote", "response_vote"})
"""Messages whose `term` is the sender's own."""
AGE_SLACK_NS = 2_000
Message = dict[str, Any]
Found = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    at_ns: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.at_ns / NS_PER_S:.6f} s: {self.text}"


class Findings:
    def __init__(self, now: Callable[[], int]) -> None:
        self.violations: list[Violation] = []
        self._now = now

    @property
    def full(self) -> bool:
        """Nothing more is kept: to go on costs time and tells nothing."""
        return len(self.violations) >= VIOLATIONS_KEPT

    def found(self, kind: str, text: str) -> None:
        if not self.full:
            self.violations.append(Violation(kind, self._now(), text))


@dataclass(frozen=True, slots=True)
class Entry:
    """As the first replica applied it."""

    data: bytes
    before: int
    digest: bytes
    who: str


class LogChecker:
    """Applied sequences are prefixes of one; equal indexes are equal states; what was applied anywhere stays."""

    def __init__(self, found: Found) -> None:
        self.highest = 0
        self.entries: dict[int, Entry] = {}
        self.acknowledgements = 0
        self._found = found
        self._index_of: dict[bytes, int] = {}
        self._highest_in: dict[int, int] = {}
        self._twice_allowed = False

    def allow_twice(self) -> None:
        """The network doubles frames, a handed-over proposal among them."""
        self._twice_allowed = True

    def begins_at(self, index: int, digest: bytes) -> None:
        """The first state of all replicas is one of this index: they were restored from a backup."""
        self.highest = index
        self.entries[index] = Entry(b"", index, digest, "the backup")

    def applied(self, who: str, index: int, data: bytes, before: int, digest: bytes) -> None:
        if index <= before:
            self._found("order", f"{who} applies entry {index} after entry {before}")
        known = self.entries.get(index)
        if known is not None:
            self._compare(who, index, known, data, before, digest)
            return
        if index < self.highest:
            self._found("agreement", f"{who} applies an entry {index}; others went past it without, to {self.highest}")
        self.entries[index] = Entry(data, before, digest, who)
        self.highest = max(self.highest, index)
        if self._index_of.setdefault(data, index) != index and not self._twice_allowed:
            self._found("twice", f"{who} applies one proposal at {self._index_of[data]} and {index}: {data[:30]!r}")

    def _compare(self, who: str, index: int, known: Entry, data: bytes, before: int, digest: bytes) -> None:
        if known.data != data:
            was = f"{known.who} applied {known.data[:30]!r}"
            self._found("agreement", f"{who} applies {data[:30]!r} at {index}, {was}")
        elif known.before != before:
            self._found("prefix", f"{who} came to {index} from {before}, {known.who} came from {known.before}")
        elif known.digest != digest:
            self._found("state", f"{who} and {known.who} differ at {index}")

    def committed(self, index: int, term: int) -> None:
        """Somebody applied it who knows no term above `term`: it was committed in that one or before."""
        self._highest_in[term] = max(index, self._highest_in.get(term, 0))

    def committed_before(self, term: int) -> int:
        """The highest index that was certainly committed in a term below."""
        return max((index for known, index in self._highest_in.items() if known < term), default=0)

    def has(self, data: bytes) -> bool:
        return data in self._index_of

    def restored(self, who: str, index: int, digest: bytes) -> None:
        known = self.entries.get(index)
        if known is None and index != 0:
            self._found("agreement", f"{who} restores a state of index {index}, which nobody ever applied")
        elif known is not None and known.digest != digest:
            self._found("state", f"{who} restores a state of {index} that differs from {known.who}'s")

    def acknowledged(self, who: str, data: bytes) -> None:
        """A client was told that its command is done."""
        self.acknowledgements += 1
        if data not in self._index_of:
            self._found("durable", f"{who} acknowledges {data[:30]!r}, which nobody applied")

    def ends(self, who: str, index: int, digest: bytes) -> None:
        """All is healed and quiet: every replica must have all that was ever applied anywhere."""
        if index < self.highest:
            self._found("durable", f"{who} ends at {index}; {self.entries[self.highest].who} applied {self.highest}")
        else:
            self.restored(who, index, digest)


class LeaderChecker:
    """One leader a term, by appends and by what members say; its log has all that was committed in terms before."""

    def __init__(self, found: Found, log: LogChecker) -> None:
        self.elections = 0
        self._found = found
        self._log = log
        self._leaders: dict[int, str] = {}

    def leads(self, who: str, term: int) -> bool:
        """True for a leader that nobody knew."""
        known = self._leaders.get(term)
        if known is None:
            self._leaders[term] = who
            self.elections += 1
            return True
        if known != who:
            self._found("leaders", f"{who} and {known} lead term {term}")
        return False

    def complete(self, who: str, term: int, last_index: int) -> None:
        """Asked when it begins to lead: possibly late, when later terms have gone on without it."""
        needed = self._log.committed_before(term)
        if last_index < needed:
            self._found("completeness", f"{who} leads term {term} with a log to {last_index} of {needed}")


class VoteChecker:
    """Terms never go back, and nobody votes twice in one, across restarts and disks, by what is sent."""

    def __init__(self, found: Found) -> None:
        self.votes = 0
        self._found = found
        self._given: dict[tuple[str, int], str] = {}
        self._floor: dict[str, int] = {}

    def sent(self, who: str, outbox: Iterable[tuple[str, list[Message]]]) -> None:
        """All messages of one turn: within it the term may rise, so each is compared with the turns before."""
        floor = highest = self._floor.get(who, 0)
        for to, messages in outbox:
            for message in messages:
                kind = message["type"]
                term = message.get("term") if kind in TERM_KINDS else None
                if term is None:
                    continue
                if term < floor:
                    self._found("term", f"{who} sends {kind} of term {term} after term {floor}")
                elif term > highest:
                    highest = term
                if kind == "response_vote":
                    self._vote(who, term, to)
                elif kind == "request_vote":
                    self._vote(who, term, who)
        self._floor[who] = highest

    def starts(self, who: str, term: int) -> None:
        if term < self._floor.get(who, 0):
            self._found("term", f"{who} starts with term {term}, it sent messages of term {self._floor[who]} before")

    def forgets(self, who: str) -> None:
        """It has another disk: its term may be lower, and still it votes once in each."""
        self._floor.pop(who, None)

    def _vote(self, who: str, term: int, whom: str) -> None:
        self.votes += 1
        given = self._given.setdefault((who, term), whom)
        if given != whom:
            self._found("votes", f"{who} votes for {whom} in term {term}, it voted for {given} before")


@dataclass(frozen=True, slots=True)
class Leading:
    who: str
    term: int
    process: Hashable
    """Another one after a restart, or when its clock leapt."""


class KeepsTermChecker:
    """A leader that a majority hears keeps its term: nobody else stands (pre-vote, stickiness).

    Judged narrowly, so that it is never wrong: the leader leads by its own word, it and others, a majority together,
    have had calm ways between them for `hears_ns` (witness.sim.raft.calm), the shortest election timeout, within which
    they have heard it; and whoever stands has no leave that may be of the time before, which may come late and counts.
    A leader that stands itself (for a learner) or that gave up is no concern of this.
    """

    def __init__(self, found: Found, now: Callable[[], int], members: int, hears_ns: int) -> None:
        self.looks = 0
        """At which a leader was certainly heard by a majority."""
        self.asked = 0
        """How often somebody asked for leave in such a time: the rule was put to the test."""
        self._found = found
        self._now = now
        self._members = members
        self._hears_ns = hears_ns
        self._leading: Leading | None = None
        self._calm: dict[str, tuple[Hashable, int]] = {}
        self._leave_ns: dict[tuple[str, int], int] = {}

    def look(self, leading: Leading | None, ways: Mapping[str, Hashable]) -> None:
        """Who leads the highest term, and what stays the same while the way to each other one is calm, or None."""
        now_ns, before = self._now(), self._calm if leading == self._leading else {}
        self._leading = leading
        self._calm = {
            who: (way, before[who][1] if who in before and before[who][0] == way else now_ns)
            for who, way in ways.items()
            if way is not None
        }
        self.looks += self._heard_since_ns() is not None

    def slow(self, who: str) -> None:
        """One of its turns was long."""
        self._calm.pop(who, None)
        if self._leading is not None and self._leading.who == who:
            self._leading = None

    def sent(self, who: str, outbox: Iterable[tuple[str, list[Message]]]) -> None:
        """After a `look` at this very instant."""
        for to, messages in outbox:
            for message in messages:
                kind = message["type"]
                if kind == "pre_vote_answer" and message["granted"]:
                    self._leave_ns.setdefault((to, message["term"]), self._now())
                elif kind == "pre_vote" and self._against(who, message["term"]):
                    self.asked += 1
                elif kind == "request_vote" and self._against(who, message["term"]):
                    self._stands(who, message["term"])

    def _against(self, who: str, term: int) -> bool:
        leading = self._leading
        heard = self._heard_since_ns() is not None
        return leading is not None and heard and who != leading.who and term > leading.term

    def _stands(self, who: str, term: int) -> None:
        leading, since_ns = self._leading, self._heard_since_ns()
        leave_ns = self._leave_ns.get((who, term))
        if leading is None or since_ns is None or (leave_ns is not None and leave_ns < since_ns + self._hears_ns):
            return
        self._found(
            "unseated",
            f"{who} stands for term {term}, while {leading.who} leads term {leading.term} and a majority hears it "
            f"since {since_ns / NS_PER_S:.3f} s",
        )

    def _heard_since_ns(self) -> int | None:
        """Since when a majority, the leader in it, has been calm; None when that is too short to have heard it."""
        others = self._members // 2
        since = sorted(since_ns for _, since_ns in self._calm.values())
        if self._leading is None or others == 0 or len(since) < others:
            return None
        since_ns = since[others - 1]
        return since_ns if self._now() - since_ns >= self._hears_ns else None


class SyncChecker:
    """Nothing leaves before all that was written is synced, but a leader's appends (witness.raft.node)."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def sent(self, who: str, outbox: Iterable[tuple[str, list[Message]]], unsynced: bool) -> None:
        """At the end of a turn."""
        kinds = sorted({message["type"] for _, messages in outbox for message in messages})
        if unsynced and kinds:
            self._found("unsynced", f"{who} sends {', '.join(kinds)} before its disk is synced")

    def sent_early(self, who: str, outbox: Iterable[tuple[str, list[Message]]]) -> None:
        """In the middle of a turn."""
        kinds = sorted({message["type"] for _, messages in outbox for message in messages} - {"append_entries"})
        if kinds:
            self._found("unsynced", f"{who} sends {', '.join(kinds)} in the middle of a turn")


class StandingChecker:
    """A learner grants no vote, never stands, and says of its acknowledgements that they do not count."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def sent(self, who: str, outbox: Iterable[tuple[str, list[Message]]]) -> None:
        """By a witness that was a learner still at the end of this turn."""
        for _, messages in outbox:
            for message in messages:
                kind = message["type"]
                votes = kind in {"response_vote", "request_vote", "pre_vote"} or message.get("granted", False)
                if votes or (kind == "next_node_idx" and message["votes"]):
                    self._found("learner", f"{who} sends {kind} as a learner: {message}")


class AgeChecker:
    """An entry is never older than `age_bound_ns` says (witness.raft.age)."""

    def __init__(self, found: Found, now: Callable[[], int]) -> None:
        self.dated = 0
        self._found = found
        self._now = now
        self._appended_ns: dict[tuple[int, int], int] = {}

    def sent(self, outbox: Iterable[tuple[str, list[Message]]], began_ns: int) -> None:
        """An entry was in the log at the latest when it was first sent."""
        for _, messages in outbox:
            for message in messages:
                for _command, index, term in message.get("entries", ()):
                    self._appended_ns.setdefault((index, term), began_ns)

    def applied(self, who: str, index: int, term: int, bound_ns: int | None, rate_ppm: int) -> None:
        if bound_ns is None:
            return
        self.dated += 1
        appended_ns = self._appended_ns.get((index, term))
        if appended_ns is None:
            return
        age_ns = self._now() - appended_ns
        true_bound_ns = bound_ns * PPM // (PPM + rate_ppm)
        if age_ns > true_bound_ns + AGE_SLACK_NS:
            self._found("age", f"{who} says entry {index} is younger than {true_bound_ns} ns, it is {age_ns} ns old")


class WorkChecker:
    """A turn's messages are bounded by what there is to say, whatever the clock does (D-12)."""

    MESSAGES_FEW = 64

    def __init__(self, found: Found) -> None:
        self.most = 0
        self._found = found

    def sent(self, who: str, count: int, allowed: int) -> None:
        self.most = max(self.most, count)
        if count > allowed:
            self._found("work", f"{who} sends {count} messages in one turn, {allowed} would do")

    def payload(self, who: str, outbox: Iterable[tuple[str, list[Message]]], allowed: int) -> None:
        """Entries and images for one peer in one turn."""
        for to, messages in outbox:
            size = sum(_payload(message) for message in messages)
            if size > allowed:
                self._found("work", f"{who} sends {size} bytes of entries and images to {to} in one turn, of {allowed}")


def _payload(message: Message) -> int:
    chunk = message.get("serialized")
    return sum(len(entry[0]) for entry in message.get("entries", ())) + (len(chunk[0]) if chunk else 0)
