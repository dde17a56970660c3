"""The marks as one process keeps them: what counts at once, what is written when, and our own starts."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest

from proto.errors import RemoteFault
from proto.units import NS_PER_MS, WitnessId
from witness.raft.admission import MARK_PREFIX, PAST_MAX, Position, Speaker, decode_mark
from witness.raft.peer_disks import STARTS_MARK, PeerDisks, record_start, starts_of
from witness.raft.peer_log import REPEAT_NS, WORDS_PER_PEER_MAX, FaultLog, ReadmissionLog
from witness.raft.standing import Progress
from witness.raft.store_rows import StoreRefused

W1, W2 = WitnessId("w1"), WitnessId("w2")
AT = Position(10, 2, 2, 5)
SPEAKER = Speaker(W2, b"d" * 16, learner=False, position=AT, process=b"p" * 16)


class Memory(dict[str, bytes]):
    """A store's marks; counts writes."""

    writes = 0
    get_meta = dict.get

    def put_meta(self, name: str, value: bytes) -> None:
        self.writes += 1
        self[name] = value


def kept(store: Memory) -> Position:
    return decode_mark(W2, store[MARK_PREFIX + W2]).position


def test_an_admission_is_written_at_once_and_read_by_the_next_process() -> None:
    store = Memory()
    PeerDisks(store).admit(SPEAKER)
    assert kept(store) == AT
    with pytest.raises(RemoteFault, match="older state"):
        PeerDisks(store).judge(replace(SPEAKER, position=replace(AT, turn=9)))


def test_what_is_seen_counts_at_once_and_is_written_once_a_second() -> None:
    store, now_ns = Memory(), 0
    disks = PeerDisks(store)
    disks.admit(SPEAKER)
    disks.keep_due(now_ns)
    for index in range(6, 106):
        disks.seen(W2, replace(AT, turn=index * 2, last_index=index))
        now_ns += 50 * NS_PER_MS
        disks.keep_due(now_ns)
    assert store.writes == 1 + 5
    with pytest.raises(RemoteFault, match="older state"):
        disks.judge(replace(SPEAKER, position=replace(AT, turn=209, last_index=104)))


def test_the_end_of_a_connection_writes_what_was_seen() -> None:
    store = Memory()
    disks = PeerDisks(store)
    disks.admit(SPEAKER)
    disks.seen(W2, replace(AT, turn=11))
    assert kept(store) == AT
    assert disks.keep(W2)
    assert kept(store) == replace(AT, turn=11)
    assert not disks.keep(W2)


def test_a_disk_that_goes_back_on_a_living_connection_is_refused() -> None:
    disks = PeerDisks(Memory())
    disks.admit(SPEAKER)
    disks.seen(W2, replace(AT, turn=20, term=3))
    for place in (replace(AT, turn=19, term=3), replace(AT, turn=21, term=2)):
        with pytest.raises(RemoteFault, match=r"went back in time while it was connected.*witness readmit -c FILE"):
            disks.seen(W2, place)
    disks.seen(W2, replace(AT, turn=21, term=3, last_index=4))  # a log may be cut short


def test_a_place_is_judged_again_after_the_wait_also_of_the_same_process() -> None:
    """What an older connection of it showed meanwhile may be the original's, and the one that waits a copy's."""
    store = Memory()
    disks = PeerDisks(store)
    disks.admit(SPEAKER)
    again = replace(SPEAKER, position=replace(AT, turn=15))
    disks.judge(again)
    disks.seen(W2, replace(AT, turn=15))
    disks.admit(again)
    disks.seen(W2, replace(AT, turn=20))
    with pytest.raises(RemoteFault, match=r"older state.*is the same process.*copied or rolled back with its memory"):
        disks.admit(again)
    disks.keep(W2)
    assert kept(store) == replace(AT, turn=20)


def test_after_the_wait_another_process_is_judged_in_full() -> None:
    disks = PeerDisks(Memory())
    disks.admit(SPEAKER)
    disks.seen(W2, replace(AT, turn=20))
    other = replace(SPEAKER, process=b"q" * 16, starts=2, past=(SPEAKER.process,), position=replace(AT, turn=15))
    with pytest.raises(RemoteFault, match="older state"):
        disks.admit(other)


def test_a_peer_that_was_never_admitted_has_no_place() -> None:
    with pytest.raises(RemoteFault, match="never admitted"):
        PeerDisks(Memory()).seen(W2, AT)


# -- our own starts ------------------------------------------------------------------------------------------


def test_starts_are_counted_and_the_latest_are_named() -> None:
    store = Memory()
    assert starts_of(store) == (0, ())
    for number in range(PAST_MAX + 5):
        count, past = record_start(store, bytes([number]) * 16)
        assert count == number + 1
        assert past == tuple(bytes([earlier]) * 16 for earlier in range(number - 1, -1, -1))[:PAST_MAX]


@pytest.mark.parametrize("data", [b"", b"\xc1", msgpack.packb([2, 1, []]), msgpack.packb({}), msgpack.packb([1, 1])])
def test_a_record_of_starts_of_another_version_is_refused(data: bytes) -> None:
    with pytest.raises(StoreRefused, match="run the version that wrote it"):
        starts_of(Memory({STARTS_MARK: data}))


# -- the log -------------------------------------------------------------------------------------------------


def test_a_fault_is_logged_once_and_again_while_it_lasts() -> None:
    log = FaultLog(W1)
    assert log.happened(W2, "refused", 0)
    assert not log.happened(W2, "refused", REPEAT_NS - 1)
    assert log.happened("w3", "refused", 0)
    assert log.happened(W2, "silent", 1)
    assert log.happened(W2, "refused", REPEAT_NS)


def test_a_stranger_cannot_fill_the_log() -> None:
    log = FaultLog(W1)
    logged = [log.happened("unknown", f"garbage {number}", number) for number in range(1_000)]
    assert sum(logged) == WORDS_PER_PEER_MAX


def test_each_step_of_a_readmission_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = ReadmissionLog(W1)
    for progress in (Progress((W2,), 0), Progress((W2,), 0), Progress((), 17), None, None):
        log.look(progress, lambda: 18)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "waiting until w2 recorded this disk" in lines[0]
    assert "term above 17" in lines[1]
    assert "readmitted" in lines[2]
    assert "18" in lines[2]


def test_o4_a_vouch_is_to_be_on_the_disk_before_its_answer_leaves() -> None:
    """Else a loss of power right after the answer would let the original in, while its copy counts elsewhere."""
    store = Memory()
    disks = PeerDisks(store)
    disks.admit(SPEAKER)
    again = replace(SPEAKER, process=b"q" * 16, starts=SPEAKER.starts + 1, past=(SPEAKER.process,))
    assert disks.vouch(again, b"a" * 16, counts=True, here=False)
    assert PeerDisks(store).mark(W2) == disks.mark(W2)
    assert not disks.vouch(again, b"a" * 16, counts=True, here=False), "nothing is new, so nothing waits for the disk"


def test_the_bytes_of_the_record_of_starts_are_those_of_its_version() -> None:
    """They have no feature level (ADR 8): another shape bars the way back to the version before."""
    store = Memory()
    record_start(store, b"p" * 16)
    record_start(store, b"q" * 16)
    assert msgpack.unpackb(store[STARTS_MARK]) == [1, 2, [b"q" * 16, b"p" * 16]]
