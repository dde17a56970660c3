"""A witness that is told that its disk forgot something: by whom, about what, and that it is heeded for good (O5)."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from backup_rig import opened, settings_of
from gate_rig import AT, FIRST, NEW, W1, W2, W3, A, B, Member, Memory, Pair, at, older_than_the_other_saw, speaker
from test_raft_admission import BEFORE, MARK, SEEN, SPEAKER
from test_raft_admission import REFUSED as REFUSED_ROWS
from test_raft_peer_link import CLUSTER, OTHER, THIRD, TOKEN, End, Pipe

from proto.errors import DurabilityLost, FrameRefused, RemoteFault
from proto.units import NO_LINEAGE, ClusterId, LogIndex, WitnessId
from witness.raft.admission import DiskForgot, Mark, Refused, Speaker, judge
from witness.raft.heed import heed
from witness.raft.introduction import (
    CODE_FORGOT,
    CODE_MAX,
    REASON_CHARS_MAX,
    Answer,
    Hello,
    Question,
    pack_answer,
    pack_hello,
    pack_reason,
    read_answer,
    read_reason,
)
from witness.raft.peer_disks import PeerDisks
from witness.raft.peer_link import HELLO, REFUSED, PeerLink, frame
from witness.raft.peer_transport import Plaintext
from witness.raft.port import CommittedEntry, ConsensusStatus, ProposalRefused
from witness.raft.standing import Standing
from witness.raft.store import StoreRefused, create_store
from witness.raft.suffrage import standing_in
from witness.raft.syncobj import PySyncObjConsensus
from witness.raft.vouching import judge_admitted, judge_introduced, judge_vouch
from witness.readmit import perform, plan_readmission

BEHIND = replace(SPEAKER, position=replace(SEEN, turn=99))
ROWS_OF_FORGETTING = {"an older turn", "an older term", "an older turn of a learner"}

# -- which verdicts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", REFUSED_ROWS)
def test_a_disk_behind_what_was_seen_under_another_process_is_told_so_and_no_other(row: str) -> None:
    """Copies and other disks are refused as well, but what is found out about them may change."""
    verdict = judge(MARK, REFUSED_ROWS[row][0])
    assert isinstance(verdict, Refused)
    assert verdict.forgot is (row in ROWS_OF_FORGETTING)


def test_the_same_process_is_not_told_so_since_its_connections_may_have_crossed() -> None:
    verdict = judge(MARK, replace(BEHIND, process=BEFORE, starts=5))
    assert isinstance(verdict, Refused)
    assert not verdict.forgot


def tentative(before: Mark) -> Mark:
    """A copy's process was vouched for, to the witness on the disk NEW."""
    return replace(before, process=b"c" * 16, starts=6, askers=(NEW,), before=replace(before, retired=()))


@pytest.mark.parametrize(
    ("said", "forgot"),
    [
        (BEHIND, True),  # behind of what was seen, whichever of the two marks stands in the end
        (replace(BEHIND, process=BEFORE, starts=5), False),  # of the former mark it is the same process
        (SPEAKER, False),  # as far as was seen: let in when the vouch is given back
    ],
)
def test_what_a_vouch_leaves_open_is_not_to_be_heeded(said: Speaker, forgot: bool) -> None:
    mark = tentative(MARK)
    for verdict in (judge_introduced(mark, said, ()), judge_admitted(mark, said), judge_vouch(mark, said, b"x" * 16)):
        assert isinstance(verdict, Refused)
        assert verdict.forgot is forgot


def test_marks_raise_it_as_what_it_is() -> None:
    disks = PeerDisks(Memory())
    disks.admit(SPEAKER)
    with pytest.raises(DiskForgot, match=r"turn 99, term 7.*turn 100, term 7"):
        disks.judge(replace(BEHIND, process=b"x" * 16, starts=7, past=(SPEAKER.process,)))
    with pytest.raises(RemoteFault) as caught:
        disks.judge(replace(BEHIND, process=SPEAKER.process))
    assert not isinstance(caught.value, DiskForgot)


# -- who is told ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", [False, True])
def test_a_member_tells_the_newcomer_itself(learner: bool) -> None:
    """Also a learner: the disk that others know of may be put back in the middle of a readmission."""
    member = Member(W1)
    member.drop(member.introduce(speaker(learner=learner)))
    again = speaker(B, starts=3, past=(A, FIRST), learner=learner)
    link = member.introduce(replace(again, position=replace(AT, turn=AT.turn - 1)))
    assert link.closing
    assert link.forgot


def test_the_one_who_knows_may_be_the_one_who_is_asked() -> None:
    pair = Pair()
    older = older_than_the_other_saw(pair)
    assert older.why.endswith("(as w2 says)")
    assert older.forgot


def test_one_that_was_let_in_is_told_when_the_members_find_each_other_again() -> None:
    pair = Pair()
    pair.part()
    pair.two.drop(pair.two.introduce(at(50)))
    older = pair.one.introduce(speaker(B, starts=3, past=(A, FIRST)))
    assert pair.one.counts(older)
    pair.meet()
    assert older.closing
    assert older.forgot


def test_two_copies_are_not_told_so() -> None:
    pair = Pair()
    pair.one.introduce(speaker())
    pair.deliver()
    copy = pair.two.introduce(speaker(B, starts=3, past=(A, FIRST)))
    pair.deliver()
    assert copy.closing
    assert not copy.forgot


# -- on the wire ---------------------------------------------------------------------------------------------


def test_a_refusal_says_by_a_code_that_a_disk_forgot() -> None:
    assert read_reason(pack_reason("older", forgot=True)) == ("older", True)
    assert read_reason(pack_reason("older")) == ("older", False)
    assert read_reason(msgpack.packb(["older", CODE_FORGOT + 1])) == ("older", False), "another code counts as none"
    words, forgot = read_reason(pack_reason("x" * 5_000, forgot=True))
    assert (len(words), forgot) == (REASON_CHARS_MAX, True)


@pytest.mark.parametrize("value", [["a"], ["a", 1, 1], ["a", -1], ["a", CODE_MAX + 1], ["a", True], ["a", "1"], [1, 1]])
def test_another_code_is_refused(value: object) -> None:
    with pytest.raises(FrameRefused):
        read_reason(msgpack.packb(value))


def test_an_answer_says_so_of_its_objection_and_of_nothing_else() -> None:
    answer = Answer(W2, THIRD.process, TOKEN, "no", None, 0, forgot=True)
    assert read_answer(pack_answer(answer)) == answer
    assert not read_answer(pack_answer(replace(answer, objection=""))).forgot
    fields = msgpack.unpackb(pack_answer(answer))
    assert not read_answer(msgpack.packb([*fields[:6], CODE_FORGOT + 1])).forgot
    for wrong in ([*fields[:6], CODE_MAX + 1], [*fields[:6], -1], [*fields[:6], None], fields[:6], [*fields, 0]):
        with pytest.raises(FrameRefused):
            read_answer(msgpack.packb(wrong))


def told(end: End) -> list[str]:
    said: list[str] = []
    end.owner.told_forgot = lambda _link, words: said.append(words)  # type: ignore[attr-defined] - the part that is used
    return said


def test_a_peer_whose_introduction_was_right_is_heard() -> None:
    end = End()
    said = told(end)
    end.link.data_received(frame(REFUSED, pack_reason("older", forgot=True)))
    assert said == ["older"]
    assert (end.link.refused, end.link.refusal, end.link.closing) == (True, "older", True)


@pytest.mark.parametrize("body", [pack_reason("older"), msgpack.packb(["older", 9])])
def test_a_refusal_without_that_code_is_shown_and_not_heeded(body: bytes) -> None:
    end = End()
    said = told(end)
    end.link.data_received(frame(REFUSED, body))
    assert said == []
    assert end.link.refusal == "older"


def test_who_was_not_introduced_is_not_heard() -> None:
    end = End()
    said = told(end)
    end.link.peer = None
    end.link.data_received(frame(REFUSED, pack_reason("older", forgot=True)))
    assert said == []


def test_a_link_tells_its_peer_what_its_owner_found() -> None:
    end = End()

    def introduced(_link: PeerLink, _hello: Hello) -> None:
        raise DiskForgot("older")

    end.owner.introduced = introduced  # type: ignore[method-assign] - the part that is used
    end.link = PeerLink(end.owner, W2, lambda: 0.0)  # type: ignore[arg-type] - the part that is used
    end.pipe = Pipe()
    end.link.connection_made(end.pipe)  # type: ignore[arg-type] - a fake
    end.link.data_received(frame(HELLO, pack_hello(Hello(CLUSTER, None, OTHER, NO_LINEAGE, 1))))
    (length, kind), body = struct.unpack(">IB", end.pipe.written[-1][:5]), end.pipe.written[-1][5:]
    assert (length, kind) == (len(body), REFUSED)
    assert read_reason(body) == ("older", True)


def test_a_question_about_it_is_no_refusal_of_the_asker() -> None:
    """The asker's own connection stays: only the one who was asked about is told."""
    pair = Pair()
    latest = pair.two.introduce(at(50))
    pair.deliver()
    pair.two.drop(latest)
    by = pair.to_one
    pair.two.gate.asked(by, Question(speaker(B, starts=3, past=(A, FIRST)), None, TOKEN))  # type: ignore[arg-type] - a fake
    answer = by.said[-1]
    assert isinstance(answer, Answer)
    assert answer.forgot
    assert not by.closing


class Nothing:
    """A replicated state that nobody asks."""

    def apply(self, entry: CommittedEntry) -> None: ...
    def snapshot(self) -> bytes:
        return b""

    def restore(self, image: bytes, last_index: LogIndex) -> None: ...
    def turn_synced(self) -> None: ...
    def status_changed(self, status: ConsensusStatus) -> None: ...


# -- heeded --------------------------------------------------------------------------------------------------

WORDS = "w1 comes with an older state of its disk (turn 237, ...) than was seen of it (turn 247, ...)"


@pytest.mark.parametrize("learner", [False, True])
def test_what_was_heeded_outlasts_the_process_and_ends_with_a_readmission(tmp_path: Path, learner: bool) -> None:
    settings = settings_of(tmp_path)
    create_store(settings.data_dir, settings.cluster, settings.witness, learner=learner)
    store = opened(settings)
    store.put_meta("of-this-turn", b"x")
    ends = heed(store, W3, WORDS)
    assert not store.dirty, "it is on the disk when the process ends"
    store.close()
    again = opened(settings)  # and can be read, for a backup
    with pytest.raises(StoreRefused) as refused:
        standing_in(again)
    again.close()
    for words in (str(ends), str(refused.value)):
        assert f"w3 says: {WORDS}" in words
        assert "witness readmit -c FILE" in words
    assert "put aside" in "".join(perform(plan_readmission(settings), Path("witness.yaml")))
    learns = opened(settings)
    assert standing_in(learns) is Standing.LEARNER
    learns.close()


def test_the_process_ends_as_soon_as_it_is_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    create_store(settings.data_dir, settings.cluster, settings.witness)
    store, ends = opened(settings), list[BaseException]()
    body = PySyncObjConsensus(
        self_id=W1,
        peers={W2: ("", 0), W3: ("", 0)},
        listen=("", 0),
        store=store,
        replicated=Nothing(),
        tls=Plaintext(),
        fatal=ends.append,
        clock_ns=lambda: 1,
    )
    body._running = True  # without a loop and a socket
    body.told_forgot(W3, WORDS)
    body.told_forgot(W2, WORDS)
    [error] = ends
    assert isinstance(error, StoreRefused)
    assert f"w3 says: {WORDS}" in str(error)
    assert not store.dirty
    with pytest.raises(ProposalRefused, match="not running"):
        body.propose(b"x")
    with pytest.raises(RemoteFault, match="stopping"):
        body.introduction(W2)
    store.close()
    again = opened(settings)
    with pytest.raises(StoreRefused, match="w3 says"):
        standing_in(again)
    again.close()


def test_a_disk_that_cannot_take_the_mark_ends_the_process_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    create_store(settings.data_dir, settings.cluster, settings.witness)
    store = opened(settings)
    store._db.close()  # the disk is gone
    with pytest.raises(DurabilityLost):
        heed(store, W3, WORDS)
    store.close()


def test_words_of_another_alphabet_are_kept(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    create_store(settings.data_dir, ClusterId(settings.cluster), settings.witness)
    store = opened(settings)
    heed(store, WitnessId("w3"), "é\udc80" * (REASON_CHARS_MAX // 2))
    with pytest.raises(StoreRefused, match="w3 says: é"):
        standing_in(store)
    store.close()
