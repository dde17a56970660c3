"""One process of one disk counts (witness/raft/gate.py, vouching.py), and one bad peer costs the others nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from mutant import Mutant

from witness.raft import gate as gate_module
from witness.raft import peer_disks, vouching
from witness.raft.gate import Gate
from witness.raft.inbox import Inbox
from witness.raft.inquiry import Inquiries, Inquiry
from witness.raft.peer_disks import PeerDisks
from witness.raft.peer_link import PeerLink
from witness.raft.snapshot_transfer import SnapshotTransfer


def nobody_is_asked(patch: pytest.MonkeyPatch) -> None:
    """A member lets in whom it does not know better itself."""
    right = Gate.introduced

    def introduced(self, link, hello):
        links, self._links = self._links, {}
        try:
            right(self, link, hello)
        finally:
            self._links = links

    patch.setattr(Gate, "introduced", introduced)


def a_vouch_leaves_no_mark(patch: pytest.MonkeyPatch) -> None:
    def vouch(self, speaker, asker, **how):
        before = self.mark(speaker.peer)
        right(self, speaker, asker, **how)
        self._marks[speaker.peer] = before
        return self.keep(speaker.peer)

    right = PeerDisks.vouch
    patch.setattr(PeerDisks, "vouch", vouch)


def a_vouch_is_answered_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    right = PeerDisks.vouch

    def vouch(self, speaker, asker, **how):
        right(self, speaker, asker, **how)
        return False

    patch.setattr(PeerDisks, "vouch", vouch)


def a_stale_answer_counts(patch: pytest.MonkeyPatch) -> None:
    """The answer to an earlier question about that process lets it in."""
    right = Inquiries.answered

    def answered(self, by, answer):
        for token, inquiry in self._open.items():
            about = inquiry.about.speaker
            if inquiry.by is by and about is not None and about.process == answer.process:
                return right(self, by, replace(answer, token=token))
        return right(self, by, answer)

    patch.setattr(Inquiries, "answered", answered)


def a_vouch_is_for_good(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vouching, "_tentative", lambda base, taken, asker: taken)


def anybody_gives_back(patch: pytest.MonkeyPatch) -> None:
    """What was vouched to one member is taken back when any other one asks."""
    right = vouching.given_back

    def given_back(mark, askers):
        return right(mark, mark.askers if mark is not None and askers else askers)

    patch.setattr(vouching, "given_back", given_back)


def who_waits_gives_back(patch: pytest.MonkeyPatch) -> None:
    """A question over a connection that does not count says that its sender let in nobody."""
    right = PeerDisks.vouch
    patch.setattr(
        PeerDisks, "vouch", lambda self, speaker, asker, **how: right(self, speaker, asker, **{**how, "counts": True})
    )


def a_vouch_is_told_as_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate_module, "own_part", lambda mark: mark)


def former_mark_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What is given back leaves nothing, instead of what was known before the vouch."""
    right = vouching._tentative
    patch.setattr(vouching, "_tentative", lambda base, taken, asker: replace(right(base, taken, asker), before=None))


def a_place_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    """A disk that went back in time is taken as it is."""
    patch.setattr(peer_disks, "fell", lambda before, now: False)
    from witness.raft import admission

    patch.setattr(admission, "fell", lambda before, now: False)


def a_process_is_taken_at_its_word(patch: pytest.MonkeyPatch) -> None:
    """R1: whoever names the same process is another connection of it."""
    patch.setattr(Inquiry, "settled", property(lambda self: self.relays is not None))


def any_connection_returns_a_token(patch: pytest.MonkeyPatch) -> None:
    def returned(self, over, token):
        inquiry = self._open.get(token)
        right(self, over if inquiry is None else inquiry.about, token)

    right = Inquiries.returned
    patch.setattr(Inquiries, "returned", returned)


def one_process_has_one_place(patch: pytest.MonkeyPatch) -> None:
    """What was seen of a process bars no other connection that names it."""
    right = vouching.judge_elsewhere
    patch.setattr(vouching, "judge_elsewhere", lambda mark, speaker, *, here: right(mark, speaker, here=True))


def a_copy_takes_the_place_of_its_original(patch: pytest.MonkeyPatch) -> None:
    """At one member a new connection of a process waits for no older one."""
    right = gate_module.Waiting
    patch.setattr(gate_module, "Waiting", lambda link, hello, older, since_s: right(link, hello, None, since_s))


def silence_about_a_third_is_borne(patch: pytest.MonkeyPatch) -> None:
    """R-3: who pings and never answers keeps another witness out for ever."""
    patch.setattr(PeerLink, "_owes_answer", lambda self, now_s, patience_s: None)


def room_is_not_judged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SnapshotTransfer, "_has_room", lambda self, total: True)


def room_is_judged_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """All of an image is taken before anybody asks whether it fits."""
    right = SnapshotTransfer.received

    def received(self, peer, chunk):
        fits, last = self._fits, chunk[2]
        self._fits = fits if last else lambda size: True
        try:
            return right(self, peer, chunk)
        finally:
            self._fits = fits

    patch.setattr(SnapshotTransfer, "received", received)


def one_queue_for_all(patch: pytest.MonkeyPatch) -> None:
    """Mail is read in the order in which it came, and its bound is that of all peers together."""

    def put(self, peer, message, size):
        self.__dict__.setdefault("_order", deque()).append(peer)
        right(self, peer, message, size)

    def take_turn(self):
        order = self.__dict__.setdefault("_order", deque())
        for _ in range(512):
            while order and not self._queues[order[0]]:
                order.popleft()
            if not order:
                return
            peer = order.popleft()
            message, size = self._queues[peer].popleft()
            self._bytes[peer] -= size
            yield peer, message

    right = Inbox.put
    patch.setattr(Inbox, "put", put)
    patch.setattr(Inbox, "take_turn", take_turn)
    patch.setattr(Inbox, "bytes_of", lambda self, peer: sum(self._bytes.values()))


_VOUCHING = "unit/test_raft_vouching.py::test_"
_COPIED = "unit/test_raft_copied_memory.py::test_"
_ROOM = "unit/test_raft_snapshot_room.py::test_"
NO_MEMORY = "the fuzz copies disks and no memory of a running process"
CUT_AT_ONE_INSTANT = "the original, its copy and a member's end must meet within one question and its answer"
MUTANTS = (
    Mutant(
        "nobody-is-asked",
        "a process counts when all others that are reached know none better",
        "ADR 11",
        nobody_is_asked,
        tests=(
            "unit/test_raft_gate.py::test_o5_an_older_state_that_only_the_other_member_has_seen_is_refused",
            "unit/test_raft_gate.py::test_o4_the_living_one_that_another_member_has_stays",
        ),
        why="beside a copy the fuzz keeps the members connected, and each of them has seen the original itself",
    ),
    Mutant(
        "vouch-leaves-no-mark",
        "who vouched for a process remembers it",
        "ADR 11",
        a_vouch_leaves_no_mark,
        tests=(f"{_VOUCHING}o4_in_any_order_only_one_of_two_copies_is_ever_let_in",),
        why=CUT_AT_ONE_INSTANT,
    ),
    Mutant(
        "vouch-not-durable",
        "a vouch is on the disk before its answer leaves",
        "ADR 11",
        a_vouch_is_answered_before_it_is_durable,
        tests=("unit/test_raft_peer_disks.py::test_o4_a_vouch_is_to_be_on_the_disk_before_its_answer_leaves",),
        why="only a loss of power between the answer and the next turn shows it, and a copy that comes right after",
    ),
    Mutant(
        "stale-answer-counts",
        "an answer to an earlier question lets nobody in",
        "ADR 11",
        a_stale_answer_counts,
        tests=(f"{_VOUCHING}o4_an_answer_to_an_earlier_question_lets_nobody_in",),
        why=CUT_AT_ONE_INSTANT,
    ),
    Mutant(
        "vouch-is-for-good",
        "a vouch bars the original only while its copy may have been let in",
        "ADR 11",
        a_vouch_is_for_good,
        tests=(f"{_VOUCHING}the_original_of_a_copy_that_was_never_let_in_counts_without_an_operator",),
        why="operators of the fuzz readmit whoever is refused, so that nobody is barred to the end",
    ),
    Mutant(
        "anybody-gives-back",
        "a vouch is taken back by who asked for it, on the disk that asked",
        "ADR 11",
        anybody_gives_back,
        tests=(f"{_VOUCHING}o4_a_member_on_another_disk_gives_nothing_back_for_the_former_one",),
        why=CUT_AT_ONE_INSTANT,
    ),
    Mutant(
        "who-waits-gives-back",
        "who only waits gives nothing back by asking",
        "ADR 11",
        who_waits_gives_back,
        tests=(f"{_VOUCHING}o4_who_only_waits_gives_nothing_back_by_asking",),
        why=CUT_AT_ONE_INSTANT,
    ),
    Mutant(
        "vouch-told-as-known",
        "what is tentative is told to nobody as known",
        "ADR 11",
        a_vouch_is_told_as_known,
        tests=(f"{_VOUCHING}a_tentative_mark_is_told_to_nobody_as_known",),
        why="it bars a member that should count, and operators of the fuzz readmit whoever is refused",
    ),
    Mutant(
        "former-mark-forgotten",
        "what is given back leaves what was known before the vouch",
        "ADR 11",
        former_mark_is_forgotten,
        tests=(f"{_VOUCHING}the_former_mark_comes_back_when_all_askers_gave_back",),
        why=CUT_AT_ONE_INSTANT,
    ),
    Mutant(
        "older-place-is-taken",
        "a disk that went back in time is refused",
        "ADR 11",
        a_place_is_not_compared,
        tests=(
            "unit/test_raft_peer_disks.py::test_an_admission_is_written_at_once_and_read_by_the_next_process",
            "unit/test_raft_peer_disks.py::test_a_disk_that_goes_back_on_a_living_connection_is_refused",
        ),
        why="a minority of the fuzz's disks is older, and it seldom stands in the very term that it forgot",
    ),
    Mutant(
        "process-is-taken-at-its-word",
        "a process shows over its other connections that one is its own",
        "ADR 11",
        a_process_is_taken_at_its_word,
        tests=(
            f"{_COPIED}o4_a_copy_with_the_memory_does_not_count_beside_its_original",
            f"{_COPIED}o4_members_that_meet_again_find_a_copy_out",
        ),
        why=NO_MEMORY,
    ),
    Mutant(
        "any-connection-returns",
        "a token counts when it comes back over the connection that was asked about",
        "ADR 11",
        any_connection_returns_a_token,
        tests=(f"{_COPIED}o4_a_token_counts_over_its_own_connection_only",),
        why=NO_MEMORY,
    ),
    Mutant(
        "one-process-has-one-place",
        "places of one process are compared, unless it is connected with both",
        "ADR 11",
        one_process_has_one_place,
        tests=(f"{_COPIED}o4_a_copy_is_behind_what_another_member_saw_of_its_original",),
        why=NO_MEMORY,
    ),
    Mutant(
        "copy-takes-its-place",
        "a connection waits for the end of an older one of the same process",
        "ADR 11",
        a_copy_takes_the_place_of_its_original,
        tests=(f"{_COPIED}o4_a_copy_does_not_take_the_place_of_its_living_original",),
        why=NO_MEMORY,
    ),
    Mutant(
        "silent-member-is-borne",
        "who gives signs of life and no answer is disconnected",
        "ADR 11",
        silence_about_a_third_is_borne,
        tests=(
            "unit/test_raft_peer_link.py::test_who_pings_and_never_answers_a_question_is_disconnected_within_the_bound",
        ),
        why="every process of the fuzz answers as long as it runs",
    ),
    Mutant(
        "room-not-judged",
        "an image for which the disk has no room is not written",
        "space",
        room_is_not_judged,
        tests=(f"{_ROOM}a_witness_refuses_what_does_not_fit_serves_on_and_takes_it_when_there_is_room",),
        why="a process of the fuzz may end when its disk is full, and is started again when there is room",
    ),
    Mutant(
        "room-judged-at-the-end",
        "room is judged with the first chunk of an image",
        "space",
        room_is_judged_at_the_end,
        tests=(f"{_ROOM}the_room_is_judged_by_the_total_with_the_first_chunk_and_again_at_the_end",),
        why="it costs the bytes of a transfer that is refused in the end all the same",
    ),
    Mutant(
        "one-queue-for-all",
        "each peer's mail has a queue of its own",
        "S3",
        one_queue_for_all,
        tests=(
            "unit/test_raft_one_bad_peer.py::test_each_peer_is_read_by_turns_and_in_its_own_order",
            "unit/test_raft_one_bad_peer.py::test_a_leader_is_heard_in_the_turn_that_it_speaks_whoever_floods",
        ),
        why="the fuzz's liar forges three frames at a time and floods nobody",
    ),
)
