"""What a crash, a loss of power or a damaged file may take: D-2, D-5 to D-8, D-23, D-25, D-26, D-41 to D-43."""

from __future__ import annotations

import resource
import signal

import pytest
from plain_node import PlainSettings
from review_cluster import Cluster, Make, judge

from proto.errors import DurabilityLost
from witness.raft.store import STORE_NAME, StoreRefused


class Killed(BaseException):
    """kill -9 in the middle of a call."""


def _acknowledged_but_not_applied(cluster: Cluster) -> int:
    """c has acknowledged entries of which it does not know yet that they are committed; returns the last one."""
    cluster.begin("a")
    cluster.commit("a", *(b"%d" % number for number in range(6)))
    cluster.tamper = _without_commit
    for number in range(3):
        cluster.nodes["a"].propose(b"late%d" % number)
    end = cluster.last("a") + 3
    cluster.until(lambda: cluster.nodes["a"].commit_index >= end, "a committed it by c's acknowledgement")
    assert cluster.last("c") == end
    assert cluster.nodes["c"].applied_index < end
    return end


def _without_commit(_sender, to, message):
    return None if to == "b" else {**message, "commit_index": 2} if "commit_index" in message else message


def test_d02_a_crash_between_dump_and_trim_takes_nothing(make: Make) -> None:
    """c folds its log and dies before its next tick."""
    cluster = make()
    end = _acknowledged_but_not_applied(cluster)
    cluster.isolate("c")
    cluster.nodes["c"].compact()
    cluster.turn("c")
    cluster.crash("c")
    cluster.start("c")
    cluster.isolate("c")
    cluster.turn("c")
    judge(cluster, cluster.last("c") < end, "loses entries that it had acknowledged")


def test_d26_a_message_before_the_first_tick_is_not_undone(make: Make) -> None:
    """The same window; an append reaches c between its start and its first tick, and is acknowledged."""
    cluster = make()
    end = _acknowledged_but_not_applied(cluster)
    cluster.isolate("c")
    cluster.nodes["c"].compact()
    cluster.turn("c")
    cluster.crash("c")
    cluster.tamper = None
    append = next(m for m in cluster.seen("a", "c", "append_entries") if m["entries"] and m["entries"][-1][1] == end)
    cluster.nodes["c"] = cluster.open("c")
    cluster.link("a", "c")
    before = len(cluster.sent)
    cluster.hand("a", "c", append)
    cluster.turn("c")
    acks = [m for one, _, m in cluster.sent[before:] if one == "c" and m["type"] == "next_node_idx" and m["success"]]
    assert acks
    assert acks[-1]["next_node_idx"] == end + 1
    judge(cluster, cluster.last("c") < end, "loses what it acknowledged before its first tick")


def test_d06_what_is_acknowledged_survives_the_power(make: Make) -> None:
    """All three lose power at once, right after the client was told."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"acknowledged")
    assert cluster.nodes["a"].acknowledged == [b"acknowledged"]
    cluster.power_cut(*cluster.ids)
    cluster.start()
    cluster.elect("a")
    judge(cluster, b"acknowledged" not in cluster.nodes["a"].data, "forgets an acknowledged entry in a power loss")


def test_d06_the_library_never_syncs(plain: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why losing its unsynced pages is fair: while it elects, commits and folds, it calls no sync at all."""
    synced: list[str] = []
    for name in ("fsync", "fdatasync", "sync"):
        monkeypatch.setattr(f"os.{name}", lambda *_: synced.append("sync"))
    monkeypatch.setattr("plain_library.journal.ResizableFile.flush", lambda _: synced.append("flush"))
    cluster = plain()
    cluster.begin("a")
    cluster.commit("a", b"1", b"2")
    cluster.compact("a")
    assert synced == []


def test_d07_a_damaged_record_of_term_and_vote_casts_no_second_vote(make: Make) -> None:
    """b voted for a; its record is damaged while it is down; then c asks for its vote in the same term."""
    cluster = make()
    cluster.favourite = "a"
    cluster.start()
    cluster.until(lambda: bool(cluster.seen("b", "a", "response_vote")), "b votes for a")
    request = cluster.seen("a", "b", "request_vote")[-1]
    cluster.crash("b")
    if cluster.name == "plain":
        cluster.files["b"].meta.write_bytes(b"")
        cluster.start("b")
        before = len(cluster.sent)
        cluster.hand("c", "b", request)
        cluster.turn("b")
        again = any(one == "b" and m["type"] == "response_vote" for one, _, m in cluster.sent[before:])
        judge(cluster, again, "votes for another one in the same term")
    else:
        our_sql(cluster, "b", "UPDATE raft_state SET voted_for = NULL")
        with pytest.raises(StoreRefused, match="term and vote"):
            cluster.start("b")


def our_sql(cluster: Cluster, name: str, statement: str) -> None:
    """An outside hand changes a row on the disk of a witness that is down, and leaves its checksum."""
    database = cluster.disks[name].open_database(STORE_NAME)
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    database.execute(statement)
    database.close()


def test_d08_a_kill_while_the_log_is_cut_takes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library empties its file and writes what it keeps anew, entry by entry; ours is one transaction."""
    cluster = make()
    end = _acknowledged_but_not_applied(cluster)
    cluster.isolate("c")
    cluster.nodes["c"].compact()
    cluster.turn("c")
    if cluster.name == "plain":
        with monkeypatch.context() as patch:
            patch.setattr("plain_library.journal.FileJournal.add", _killed)
            with pytest.raises(Killed):
                cluster.turn("c")
        cluster.crash("c")
    else:
        cluster.disks["c"].faults.crash_at("sync:witness.db-wal")
        cluster.turn("c")
        assert "c" in cluster.deaths
    cluster.start("c")
    cluster.isolate("c")
    cluster.turn("c")
    judge(cluster, cluster.last("c") < end, "loses entries that it had acknowledged")


def _killed(*_):
    raise Killed


def test_d23_a_log_without_the_snapshot_before_it_is_refused(make: Make) -> None:
    """The dump is switched off (a setting of the library), or lost: the log begins beyond what nothing covers."""
    cluster = make(settings=PlainSettings(dump=False))
    cluster.begin("a")
    cluster.commit("a", *(b"%d" % number for number in range(6)))
    for name in cluster.ids:
        cluster.compact(name)
    cluster.step(1.5)
    for name in cluster.ids:
        cluster.crash(name)
    if cluster.name == "ours":
        cluster.disks["a"].lose("snapshot.bin")
        with pytest.raises(StoreRefused, match="snapshot"):
            cluster.start("a")
        return
    cluster.start()
    cluster.favourite = "a"
    cluster.until(lambda: cluster.nodes["a"].leads, "a leads")
    cluster.nodes["a"].propose(b"new")
    cluster.step(2.0)
    node = cluster.nodes["a"]
    broken = node.leads and node.data == [] and node.commit_index > node.applied_index
    judge(cluster, broken, "leads with an empty state and never applies anything again")


def test_d25_a_blank_disk_does_not_vote(make: Make) -> None:
    """c acknowledged an entry, loses its disk and comes back blank; b, which lacks the entry, asks for its vote."""
    cluster = make()
    cluster.begin("a")
    cluster.cut.add(("a", "b"))
    cluster.commit("a", b"acknowledged", among="ac")
    assert cluster.nodes["a"].acknowledged == [b"acknowledged"]
    cluster.crash("a")
    cluster.crash("c")
    if cluster.name == "ours":
        cluster.disks["c"].move_aside(cluster.disks["c"].names())
        with pytest.raises(StoreRefused, match="missing"):
            cluster.start("c")
        return
    cluster.files["c"].wipe()
    cluster.start("c")
    cluster.elect("b", among="bc")
    judge(cluster, b"acknowledged" not in cluster.nodes["b"].data, "elects a leader that lacks a committed entry")


def test_d41_an_entry_that_was_not_written_is_not_acknowledged(make: Make) -> None:
    """c's disk refuses a write once; the next heartbeat finds the entry in memory alone."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"1")
    cluster.isolate("c")
    end = cluster.last("c")
    for _ in range(8):
        cluster.nodes["a"].propose(bytes(1_000))
    cluster.until(lambda: cluster.last("b") >= end + 8, "b has them")
    if cluster.name == "ours":
        cluster.disks["c"].faults.fail("write")
        cluster.heal("c")
        cluster.step(0.5)
        assert isinstance(cluster.deaths["c"], DurabilityLost)
        acks = [m["next_node_idx"] for m in cluster.seen("c", "a", "next_node_idx") if m["success"]]
        assert max(acks) <= end + 1
        return
    with _no_file_grows():
        cluster.heal("c")
        cluster.step(4.0)
    acks = [m["next_node_idx"] for m in cluster.seen("c", "a", "next_node_idx") if m["success"]]
    cluster.crash("c")
    cluster.nodes["c"] = cluster.open("c")
    judge(cluster, cluster.last("c") < max(acks) - 1, "acknowledges entries that it could not write")


class _no_file_grows:  # noqa: N801  # reads as a word
    """Every write beyond the present end of a file fails, as on a full disk."""

    def __enter__(self):
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_024, self._limits[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        signal.signal(signal.SIGXFSZ, self._handler)


def test_d42_one_disk_has_one_process(make: Make) -> None:
    """A second process is started on the files of a running one."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"1")
    if cluster.name == "ours":
        with pytest.raises(StoreRefused, match="in use"):
            cluster.open("a")
        return
    second = cluster.open("a")
    judge(cluster, second.log == cluster.nodes["a"].log, "two processes write one journal")
    second.close()


def test_d43_a_disk_belongs_to_one_witness(make: Make) -> None:
    """b is started on a copy of a's files: a's log, term and vote."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"1")
    cluster.crash("b")
    if cluster.name == "ours":
        cluster.disks["b"] = cluster.disks["a"].clone(cluster.disks["a"]._rng)
        with pytest.raises(StoreRefused, match="witness"):
            cluster.start("b")
        return
    for file in (cluster.files["a"].journal, cluster.files["a"].meta):
        (cluster.files["b"].directory / file.name).write_bytes(file.read_bytes())
    cluster.start("b")
    judge(cluster, cluster.nodes["b"].log == cluster.nodes["a"].log, "takes another node's disk for its own")
