"""Between the wire and the engine: which message may pass, changed how. Pure; state is a few numbers per peer.

The library trusts its peers and its own past in ways that Raft does not allow. This filter puts back what is
missing, message by message (numbers are the project's review findings, docs/adr): terms on acknowledgements and
step-down on a higher one (D-4), commit indexes bounded by what the message itself matches (D-1, D-3), the lowest
reset wins (D-11), a prefix below our snapshot counts as matching (D-28), one vote per sender (D-19), no vote while
a leader is heard (D-13), none by a disk that may have forgotten one (D-25), no success by it either, proposals only
to a leader and never in circles; two leaders of one term, and two entries of one index and term (D-57), are noticed
and neither is believed. Dropping a message is always safe in Raft; every other change must leave a message that a
correct peer could send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from proto.limits import TEXT_CHARS_MAX
from proto.units import WitnessId
from witness.raft.elections import PreVotes
from witness.raft.messages import TERM_JUMP_MAX, Message
from witness.raft.port import Role
from witness.raft.standing import Learners, Standing

STICKY_PERCENT = 90
"""Of the shortest election timeout: a leader heard more recently than this keeps our vote."""


UNCOMMITTED_ENTRIES_MAX = 1024
"""A leader that nobody acknowledges takes no more than this; proposals may be lost, as the port says (D-46)."""


class EngineView(Protocol):
    """What the filter may know of the engine."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> WitnessId | None: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def first_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    def term_at(self, index: int) -> int | None: ...
    def command_at(self, index: int) -> bytes | None:
        """The bytes of an entry, None where the log has none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    deliver: Message | None = None
    reply: Message | None = None


DROP = Verdict()


class MessageFilter:
    def __init__(self, peers: Collection[WitnessId], election_min_ns: int, standing: Standing = Standing.VOTER) -> None:
        self._peers = frozenset(peers)
        self.election_min_ns = election_min_ns
        self.standing = standing
        self.disk_low = False
        """No log entry is taken, and so none acknowledged, while the disk is nearly full (D1)."""
        self.pre_votes = PreVotes(peers)
        self.learners = Learners()
        self._lowest_reset: dict[WitnessId, tuple[int, int]] = {}
        self._votes: tuple[int, set[WitnessId]] = (-1, set())
        self._jumped_ns: int | None = None
        self.leader_heard_ns: int | None = None
        self.leader_commit = 0
        """The commit index that the leader named last, before it was bounded."""
        self.counters: Counter[str] = Counter()
        self.alarms: dict[str, str] = {}
        """What no sound and honest peer does, by its counter: the latest case, for the log."""

    def inbound(self, sender: WitnessId, message: Message, view: EngineView, now_ns: int) -> Verdict:
        """`message` has passed check_message."""
        if sender not in self._peers:
            return self._drop("foreign_sender")
        if message.get("term", 0) > view.term + TERM_JUMP_MAX:
            return self._jump(sender, message["term"], view, now_ns)
        kind = message["type"]
        if kind == "append_entries":
            return self._append(sender, message, view, now_ns)
        if kind == "next_node_idx":
            return self._acknowledgement(sender, message, view)
        if kind == "request_vote":
            return self._vote_request(sender, message, view, now_ns)
        if kind == "response_vote":
            return self._vote(sender, message, view)
        if kind == "pre_vote":
            return self._pre_vote(message, view, now_ns)
        if kind == "pre_vote_answer":
            return self._pre_vote_answer(sender, message, view, now_ns)
        return self._proposal(message, view)

    def disconnected(self, peer: WitnessId) -> None:
        self._lowest_reset.pop(peer, None)

    def leader_lost(self) -> None:
        """Its connection ended: our vote is free at once."""
        self.leader_heard_ns = None

    def _drop(self, why: str) -> Verdict:
        self.counters[why] += 1
        return DROP

    def _jump(self, sender: WitnessId, term: int, view: EngineView, now_ns: int) -> Verdict:
        """A term far ahead of ours: the message is not taken, and we go towards it, so far an election timeout (D-50).

        Never to drop alone: two sound members whom a liar has driven apart would not speak with each other again.
        What that costs, so many election timeouts without a leader, is told: no election explains such a term.
        """
        steps = -(-(term - view.term) // TERM_JUMP_MAX)
        words = (
            f"{sender} says term {term}, we are in {view.term}, and no elections explain that: while it is connected "
            f"there may be no leader for {steps} election timeouts"
        )
        self.alarm("term_jump", words)
        if self._jumped_ns is not None and now_ns - self._jumped_ns < self.election_min_ns:
            return DROP
        self._jumped_ns = now_ns
        return Verdict(deliver=step_down(view.term + TERM_JUMP_MAX))

    def alarm(self, why: str, words: str) -> Verdict:
        self.alarms[why] = words[:TEXT_CHARS_MAX]  # may quote what the peer sent
        return self._drop(why)

    def _proposal(self, message: Message, view: EngineView) -> Verdict:
        if view.role is not Role.LEADER:
            return self._drop("proposal_to_non_leader")
        if view.last_index - view.commit_index >= UNCOMMITTED_ENTRIES_MAX:
            return self._drop("proposal_without_room")
        return Verdict(deliver=message)

    # -- appends ---------------------------------------------------------------------------------------------

    def _append(self, sender: WitnessId, message: Message, view: EngineView, now_ns: int) -> Verdict:
        term = message["term"]
        if term < view.term:
            self.counters["append_of_older_term"] += 1
            return Verdict(reply=keepalive(view))  # carries our term: the old leader steps down (D-4)
        other = view.leader not in {None, sender}
        if term == view.term and (view.role is Role.LEADER or other):
            return self.alarm("two_leaders", f"{sender} leads term {term}, and so does {view.leader}")
        if "serialized" in message:
            self._heard(message, now_ns)
            # No match was proven, so nothing may be committed by this message (D-1).
            return Verdict(deliver={**message, "commit_index": view.commit_index}, reply=keepalive(view))
        return self._entries(sender, message, view, now_ns)

    def _entries(self, sender: WitnessId, message: Message, view: EngineView, now_ns: int) -> Verdict:
        previous, entries = message["prevLogIdx"], message["entries"]
        if any(view.term_at(e[1]) not in {None, e[2]} for e in entries if e[1] <= view.commit_index):
            return self.alarm("committed_conflict", f"{sender} sends another entry in the place of a committed one")
        index = altered(entries, view)
        if index is not None:
            return self.alarm("entry_altered", f"{sender} sends entry {index} with its term and other bytes than ours")
        self._heard(message, now_ns)
        if self.disk_low and (entries or view.term_at(previous) != message["prevLogTerm"]):
            self.counters["entries_without_room"] += 1
            return Verdict(deliver=without_entries(message, view), reply=keepalive(view))
        end = previous + len(entries)
        changed = {**message, "entries": [(e[0], e[1], e[2]) for e in entries]}
        if previous < view.first_index:
            # Below our snapshot everything is committed, and a leader has all that is committed (D-28).
            first = view.first_index
            changed["entries"] = [e for e in changed["entries"] if e[1] > first]
            changed["prevLogIdx"], changed["prevLogTerm"] = first, view.term_at(first)
            end = max(end, first)
        changed["commit_index"] = min(message["commit_index"], end)
        return Verdict(deliver=changed)

    def _heard(self, message: Message, now_ns: int) -> None:
        self.leader_heard_ns = now_ns
        self.leader_commit = message["commit_index"]

    # -- acknowledgements ------------------------------------------------------------------------------------

    def _acknowledgement(self, sender: WitnessId, message: Message, view: EngineView) -> Verdict:
        if message["term"] > view.term:
            return Verdict(deliver=step_down(message["term"]))
        if message["term"] < view.term or view.role is not Role.LEADER:
            return self._drop("ack_of_older_term")
        next_index = message["next_node_idx"]
        votes = message["votes"]
        self.learners.heard(sender, votes=votes, floor=message["floor"], next_index=next_index)
        if message["success"] and not votes:
            self.counters["success_of_learner"] += 1
            self._lowest_reset.pop(sender, None)
            return Verdict(deliver={**message, "success": False})
        if message["success"]:
            if not 1 <= next_index <= view.last_index + 1:
                return self._drop("ack_beyond_log")
            self._lowest_reset.pop(sender, None)
        elif message["reset"]:
            next_index = min(next_index, view.last_index + 1)
            lowest = self._lowest_reset.get(sender)
            if lowest is not None and lowest[0] == view.term:
                next_index = min(next_index, lowest[1])
            if view.first_index == 1:
                next_index = max(next_index, 2)  # entry 1 is the same everywhere and there is no snapshot yet
            self._lowest_reset[sender] = (view.term, next_index)
        return Verdict(deliver={**message, "next_node_idx": next_index})

    # -- votes -----------------------------------------------------------------------------------------------

    def _leader_is_heard(self, now_ns: int) -> bool:
        heard_ns = self.leader_heard_ns
        return heard_ns is not None and now_ns - heard_ns < self.election_min_ns * STICKY_PERCENT // 100

    def _vote_request(self, sender: WitnessId, message: Message, view: EngineView, now_ns: int) -> Verdict:
        if message["term"] < view.term:
            return Verdict(reply=keepalive(view))
        if self.standing is not Standing.VOTER:
            return self._drop("vote_of_learner")
        if view.role is Role.FOLLOWER and view.leader not in {None, sender} and self._leader_is_heard(now_ns):
            return self._drop("vote_while_leader_heard")
        return Verdict(deliver=message)

    def _pre_vote(self, message: Message, view: EngineView, now_ns: int) -> Verdict:
        """Would we vote for this candidate in that term? Says so and changes nothing (D-13)."""
        if self.standing is not Standing.VOTER:
            return self._drop("vote_of_learner")
        last = view.last_index
        behind = (message["last_log_term"], message["last_log_index"]) < (view.term_at(last) or 0, last)
        led = view.role is Role.LEADER or self._leader_is_heard(now_ns)
        granted = message["term"] > view.term and not behind and not led
        self.counters["pre_vote_granted" if granted else "pre_vote_refused"] += 1
        answer = {"type": "pre_vote_answer", "term": message["term"], "granted": granted, "current": view.term}
        return Verdict(reply=answer)

    def _pre_vote_answer(self, sender: WitnessId, message: Message, view: EngineView, now_ns: int) -> Verdict:
        if message["current"] > view.term + TERM_JUMP_MAX:
            return self._jump(sender, message["current"], view, now_ns)
        if message["current"] > view.term:
            return Verdict(deliver=step_down(message["current"]))
        self.pre_votes.answered(sender, message["term"], granted=message["granted"])
        return DROP

    def _vote(self, sender: WitnessId, message: Message, view: EngineView) -> Verdict:
        if view.role is not Role.CANDIDATE or message["term"] != view.term:
            return self._drop("late_vote")
        if self._votes[0] != view.term:
            self._votes = (view.term, set())
        if sender in self._votes[1]:
            return self._drop("second_vote")
        self._votes[1].add(sender)
        return Verdict(deliver=message)


def altered(entries: Sequence[Sequence[Any]], view: EngineView) -> int | None:
    """The first index where an entry has our term and other bytes than ours.

    Index and term name one entry for ever (Log Matching), so one of the two logs is damaged, or its owner lies. Ours is
    proven row by row, so the message is not believed: neither below the commit index, where it could take back what was
    acknowledged, nor above it, where a truncation needs a conflict of terms (D-57).
    """
    for command, index, term in entries:
        if index > view.last_index:
            return None
        if view.term_at(index) == term and view.command_at(index) != command:
            return int(index)
    return None


def without_entries(message: Message, view: EngineView) -> Message:
    """The leader is followed and nothing else happens: what the library makes of a snapshot that is not ready."""
    rest = {name: value for name, value in message.items() if name not in {"entries", "prevLogIdx", "prevLogTerm"}}
    return {**rest, "serialized": None, "commit_index": view.commit_index}


def keepalive(view: EngineView) -> Message:
    """An acknowledgement that moves nothing but tells our term and that we live."""
    return {"type": "next_node_idx", "next_node_idx": view.last_index + 1, "reset": False, "success": False}


def step_down(term: int) -> Message:
    """A vote request that no log can grant: the engine takes the term and follows (D-4)."""
    return {"type": "request_vote", "term": term, "last_log_index": -1, "last_log_term": -1}
