"""What may be taken out of a log, and how two logs meet: D-3, 10, 11, 22, 28, 32, 44, 48, 49, 56, 57."""

from __future__ import annotations

import pytest
from plain_library import journal as plain_journal
from plain_node import PlainSettings
from review_cluster import FIVE, Cluster, Make, Message, judge

from witness.raft import journal
from witness.raft.messages import BATCH_BYTES, COMMAND_BYTES_MAX


def test_d03_a_repeated_append_takes_nothing_away(make: Make) -> None:
    """An append that arrives twice, the second time after others: what they brought was acknowledged."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"first")
    again = cluster.seen("a", "c", "append_entries")[-1]
    cluster.commit("a", b"second", b"third")
    before = cluster.last("c")
    cluster.hand("a", "c", again)
    if cluster.name == "ours":
        cluster.turn("c")
    judge(cluster, cluster.last("c") < before, "an old append takes committed entries out of the log")


def test_d10_an_older_snapshot_takes_nothing_away(make: Make) -> None:
    """c catches up by a snapshot; its last messages arrive once more, after c acknowledged what followed."""
    cluster = make()
    cluster.begin("a")
    cluster.isolate("c")
    cluster.commit("a", *(b"%d" % number for number in range(8)), among="ab")
    cluster.compact("a")
    cluster.heal("c")
    cluster.until(lambda: b"7" in cluster.nodes["c"].data, "c has caught up")
    chunks = [m for m in cluster.seen("a", "c", "append_entries") if m.get("serialized")]
    cluster.commit("a", b"after")
    before = cluster.last("c")
    for chunk in chunks:
        cluster.hand("a", "c", chunk)
    if cluster.name == "ours":
        cluster.turn("c")
    judge(cluster, cluster.last("c") < before, "a snapshot older than the log clears it")


def _divergent(cluster: Cluster, own: int, others: int) -> None:
    """c has `own` entries of a term that nobody kept; b leads a newer term and knows nothing of c's log.

    b begins to lead with a log that is `others` entries longer, so that it has to search for the fork.
    """
    cluster.begin("c")
    cluster.favour("a")
    cluster.isolate("c")
    for number in range(own):
        cluster.nodes["c"].propose(b"c%d" % number)
    cluster.step(0.1)
    cluster.elect("a", among="ab")
    cluster.commit("a", *(b"a%02d" % number for number in range(others)), among="ab")
    cluster.crash("a")
    cluster.favour("b")
    cluster.start("a")
    cluster.isolate("c")
    cluster.elect("b", among="ab")


def test_d11_a_pipeline_of_rejections_converges(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader sends several appends a tick; the last rejection must not undo the first one's search."""
    monkeypatch.setattr(journal, "ENTRIES_PER_MESSAGE_MAX", 3)
    cluster = make(settings=PlainSettings(batch_bytes=100))
    _divergent(cluster, own=8, others=40)
    cluster.heal("c")
    equal = cluster.happens(lambda: b"a39" in cluster.nodes["c"].data)
    judge(cluster, not equal, "a follower that diverged never converges")


def test_d44_the_fork_of_two_logs_is_found_in_few_rounds(make: Make) -> None:
    """60 entries that nobody kept: one step back for each heartbeat is a minute without this follower."""
    cluster = make()
    _divergent(cluster, own=60, others=80)
    cluster.heal("c")
    began_s = cluster.now_s
    cluster.until(lambda: b"a79" in cluster.nodes["c"].data, "c has caught up")
    judge(cluster, cluster.now_s - began_s > 1.5, "an append period for each entry of a divergent tail")


def test_d28_a_prefix_below_the_own_snapshot_matches(make: Make) -> None:
    """Five. c folded its log and has a tail that nobody kept; an old rejection of its own reaches the new leader."""
    cluster = make(FIVE)
    cluster.begin("a")
    cluster.cut.add(("a", "c"))
    cluster.commit("a", b"1", b"2", b"3", among="abde")
    cluster.cut.clear()
    cluster.until(lambda: any(m["reset"] for m in cluster.seen("c", "a", "next_node_idx")), "c rejects")
    late = next(m for m in cluster.seen("c", "a", "next_node_idx") if m["reset"])
    cluster.commit("a", *(b"%d" % number for number in range(10, 20)))
    cluster.compact("c")
    cluster.favour("b")
    cluster.isolate("a", "c")
    for number in range(20):
        cluster.nodes["a"].propose(b"tail%d" % number)
    cluster.until(lambda: cluster.last("c") >= cluster.last("b") + 20, "c has the tail")
    cluster.elect("b", among="bde")
    cluster.hand("c", "b", late)
    cluster.heal("b")
    equal = cluster.happens(lambda: cluster.nodes["c"].log[-1] == cluster.nodes["b"].log[-1])
    judge(cluster, not equal, "asks a follower for ever for what lies below its snapshot")


def test_d56_a_log_is_never_cut_beyond_its_end(make: Make) -> None:
    """c has written a snapshot; an old append shortens its log before the next tick cuts it to where that ended.

    Found by the schedules of the fuzz. The library's log is empty then: every later tick and message raises.
    """
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"first")
    again = cluster.seen("a", "c", "append_entries")[-1]
    cluster.commit("a", *(b"%d" % number for number in range(6)))
    cluster.nodes["c"].compact()
    cluster.turn("c")
    cluster.hand("a", "c", again)
    cluster.turn("c")
    judge(cluster, cluster.nodes["c"].log == [], "empties its log")
    cluster.nodes["a"].propose(b"last")
    cluster.step(2.0)
    judge(cluster, b"last" not in cluster.nodes["c"].data, "is deaf from then on")


def test_d32_an_acknowledgement_makes_nothing_be_sent_again(make: Make) -> None:
    """Two appends are under way when the first one is acknowledged."""
    cluster = make()
    cluster.begin("a")
    cluster.held.add(("c", "a"))
    first = cluster.last("a") + 1
    for data in (b"one", b"two", b"three"):
        cluster.nodes["a"].propose(data)
        cluster.step(0.15)
    acks = cluster.lose("c", "a")
    before = len(cluster.sent)
    oldest = next(ack for ack in acks if ack["success"] and ack["next_node_idx"] == first + 1)
    cluster.hand("c", "a", oldest)
    cluster.step(0.15)
    again = [
        entry[1]
        for sender, to, message in cluster.sent[before:]
        if (sender, to) == ("a", "c")
        for entry in message.get("entries", ())
    ]
    judge(cluster, first + 1 in again, "sends again what is under way")


def test_d49_an_append_of_another_leader_of_the_own_term_is_dropped(make: Make) -> None:
    """Two leaders of one term: a lie, or a lost vote. The leader must not give up its log to the other one."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"1", b"2")
    append = cluster.seen("a", "b", "append_entries")[0]
    before = cluster.last("a")
    cluster.hand("b", "a", append)
    if cluster.name == "ours":
        cluster.turn("a")
        assert cluster.nodes["a"].node.filter.counters["two_leaders"] == 1
    judge(cluster, not cluster.nodes["a"].leads and cluster.last("a") < before, "follows it and cuts its own log")


def test_d57_an_entry_with_other_bytes_under_its_index_and_term_is_not_taken(make: Make) -> None:
    """From a leader with a damaged log, or one that lies: what c applied and acknowledged changes under its hands."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"kept")
    append = next(m for m in cluster.seen("a", "c", "append_entries") if b"kept" in b"".join(_commands(m)))
    entries = [(command.replace(b"kept", b"else"), *place) for command, *place in append["entries"]]
    cluster.hand("a", "c", {**append, "entries": entries})
    if cluster.name == "ours":
        cluster.turn("c")
        assert cluster.nodes["c"].node.filter.counters["entry_altered"] == 1
    cluster.crash("c")
    cluster.start("c")
    cluster.until(lambda: bool(cluster.nodes["c"].data), "c applies its log again")
    judge(cluster, b"else" in cluster.nodes["c"].data, "replaces an entry that is committed and applied")


def _commands(message: Message) -> list[bytes]:
    return [entry[0] for entry in message.get("entries", ())]


def test_d22_an_entry_of_any_size_arrives(make: Make) -> None:
    """The library cuts an entry above its batch in parts, and marks the last but one as the last for some sizes.

    The follower's tick then ends in an exception. The part that is still missing repairs it, when nothing else comes
    between (seen here); a part that is lost or doubled leaves the follower behind.
    """
    cluster = make(settings=PlainSettings(batch_bytes=1_000))
    cluster.begin("a")
    for size in (1_500, 1_930, 2_500):
        cluster.nodes["a"].propose(bytes(size))
        cluster.until(lambda size=size: bytes(size) in cluster.nodes["b"].data, "it arrives")
    judge(cluster, bool(getattr(cluster.nodes["b"], "errors", [])), "unpickles an entry before all of it is there")


def test_d22_our_longest_entry_fits_into_a_batch() -> None:
    assert COMMAND_BYTES_MAX < BATCH_BYTES


def test_d48_catching_up_copies_what_it_sends(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """c lacks 2,000 entries; for every batch the library copies all that are left."""
    copied: list[int] = []
    kind = plain_journal.FileJournal if make.__qualname__.startswith("plain") else journal.Journal
    original = kind.__getitem__

    def counting(self, item):
        found = original(self, item)
        copied.append(len(found) if isinstance(item, slice) else 0)
        return found

    cluster = make(settings=PlainSettings(batch_bytes=1_000))
    cluster.begin("a")
    cluster.isolate("c")
    for number in range(20):
        cluster.commit("a", *(b"%d/%d" % (number, part) for part in range(100)), among="ab")
    monkeypatch.setattr(kind, "__getitem__", counting)
    before = len(cluster.sent)
    cluster.heal("c")
    cluster.until(lambda: len(cluster.nodes["c"].data) == 2_000, "c has caught up")
    sent = sum(len(m.get("entries", ())) for one, to, m in cluster.sent[before:] if (one, to) == ("a", "c"))
    assert sent >= 2_000
    judge(cluster, sum(copied) > 10 * sent, "copies the rest of the log for each message")
