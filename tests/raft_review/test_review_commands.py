"""How a command is applied and answered: D-15 to D-18, D-20, D-24, D-35 to D-37, D-46, D-47, D-51 to D-53."""

from __future__ import annotations

import pickle
from typing import Any

import plain_library as library
from plain_node import State
from review_cluster import Cluster, Make, judge

from witness.raft.messages import COMMAND_KINDS, REGULAR
from witness.raft.port import ProposalRefused


class Poison(Exception):
    """What a state machine raises that is not total."""


def _poisoned(_name: str, data: bytes) -> None:
    if data == b"poison":
        raise Poison


def test_d15_a_command_that_raises_is_not_applied_again(make: Make) -> None:
    """It changed something before it raised. The library applies it again and again; ours ends the process."""
    cluster = make()
    cluster.on_put = _poisoned
    cluster.begin("a")
    nodes = dict(cluster.nodes)
    nodes["a"].propose(b"poison")
    cluster.step(1.0)
    counts = [node.data.count(b"poison") for node in nodes.values()]
    judge(cluster, max(counts) > 1, "applies a command twice")
    if cluster.name == "ours":
        assert isinstance(cluster.deaths["a"], Poison)


class Renamed(State):
    """The next version of the program: it has one more method, whose name sorts first."""

    @library.syncobj.replicated
    def erase(self, data: bytes) -> None:
        self.data = [b"erased"]


def test_d16_a_new_method_changes_what_the_old_log_means(plain: Make) -> None:
    """Ours numbers nothing: the first byte of an entry says what it is, and there is one kind for a user."""
    cluster = plain()
    cluster.begin("a")
    cluster.commit("a", b"1", b"2")
    cluster.step(1.5)
    for name in cluster.ids:
        cluster.crash(name)
    cluster.state = Renamed
    cluster.begin("a")
    assert b"erased" in cluster.nodes["a"].data


def test_d16_our_entries_are_a_kind_and_the_bytes_that_were_proposed(ours: Make) -> None:
    cluster = ours()
    cluster.begin("a")
    cluster.commit("a", b"proposed")
    entries = [entry[0] for entry in cluster.nodes["a"].node._journal._entries]
    assert entries[-1] == bytes([REGULAR]) + b"proposed"
    assert {entry[0] for entry in entries} <= COMMAND_KINDS
    engine = type(cluster.nodes["a"].node._engine)
    assert not [name for name in dir(engine) if getattr(getattr(engine, name, None), "replicated", False)]


def test_d17_a_late_answer_never_answers_another_command(make: Make) -> None:
    """b hands x to the leader and restarts; its next command y gets the number that x had."""
    cluster = make()
    cluster.begin("a")
    cluster.nodes["b"].propose(b"x")
    cluster.frozen.add("a")
    cluster.turn("b")
    cluster.hand("b", "a", cluster.seen("b", "a", "apply_command")[-1])
    cluster.crash("b")
    cluster.start("b")
    cluster.frozen.clear()
    cluster.held.add(("b", "a"))
    cluster.until(lambda: cluster.nodes["b"].leader == "a", "b follows a again")
    if cluster.name == "plain":
        cluster.frozen.add("a")
        answer = next(m for m in cluster.seen("a", "b", "apply_command_response"))
        cluster.nodes["b"].propose(b"y")
        cluster.turn("b")
        cluster.hand("a", "b", answer)
        cluster.frozen.clear()
    else:
        cluster.nodes["b"].propose(b"y")
        assert not cluster.seen("a", "b", "apply_command_response")
    cluster.lose("b", "a")
    cluster.step(1.0)
    judge(cluster, b"y" in cluster.nodes["b"].acknowledged, "acknowledges a command that is in no log")


def test_d18_a_lost_answer_leaves_nobody_waiting(make: Make) -> None:
    """b's command is committed; the leader's answer to b is lost. Ours has no answer but the applied entry itself."""
    cluster = make()
    cluster.begin("a")
    cluster.tamper = lambda _sender, _to, message: None if message["type"] == "apply_command_response" else message
    cluster.commit("b", b"x")
    cluster.step(20.0)
    told = cluster.nodes["b"].acknowledged + getattr(cluster.nodes["b"], "failed", [])
    judge(cluster, told == [], "never calls back, though it applied the command itself")


_fired: list[str] = []


def _fire() -> None:
    _fired.append("fired")


class Gadget:
    """What an attacker puts into a message: unpickling it calls a function."""

    def __reduce__(self) -> Any:
        return _fire, ()


def test_d20_nothing_from_a_peer_is_unpickled(make: Make) -> None:
    """The leader's entries carry a gadget when they reach b."""
    _fired.clear()
    loaded = b"\x00" + pickle.dumps(Gadget())

    def load(_sender: str, _to: str, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("entries"):
            message["entries"] = [(loaded, *entry[1:]) for entry in message["entries"]]
        return message

    cluster = make()
    cluster.begin("a")
    cluster.tamper = load
    cluster.nodes["a"].propose(b"x")
    cluster.step(1.0)
    if cluster.name == "ours":
        assert loaded[1:] in cluster.nodes["b"].data
    judge(cluster, _fired != [], "runs what a peer put into a log entry")


class Early(State):
    """Its author set a field of the state before calling the library's constructor."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.early: list[bytes] = []
        super().__init__(*arguments, **named)

    @library.syncobj.replicated
    def put(self, data: bytes) -> None:
        self.data.append(data)
        self.early.append(data)


def test_d24_a_snapshot_holds_the_whole_state(make: Make) -> None:
    cluster = make()
    cluster.state = Early
    cluster.begin("a")
    cluster.commit("a", b"1", b"2")
    cluster.compact("b")
    cluster.crash("b")
    cluster.start("b")
    cluster.commit("a", b"3")
    node = cluster.nodes["b"]
    whole = node.engine.early if cluster.name == "plain" else node.data
    assert node.data == [b"1", b"2", b"3"]
    judge(cluster, whole != [b"1", b"2", b"3"], "leaves fields out of its snapshots without a word")


def _propose_many(cluster: Cluster, count: int) -> None:
    for number in range(count):
        cluster.nodes["a"].propose(b"%d" % number)
        if number % 100 == 99:
            cluster.step()
    cluster.level()


def test_d35_one_turn_applies_a_bounded_number_of_entries(make: Make) -> None:
    """c restarts and learns that its whole log is committed: heartbeats and elections wait meanwhile."""
    cluster = make()
    cluster.begin("a")
    _propose_many(cluster, 3_000)
    cluster.crash("c")
    cluster.start("c")
    most, before = 0, 0
    while before < 3_000:
        cluster.step()
        now = len(cluster.nodes["c"].data)
        most, before = max(most, now - before), now
    judge(cluster, most > 2_000, "applies everything in one tick")


def test_d36_a_command_does_not_wait_for_ever_for_a_leader(make: Make) -> None:
    """b has no leader for a minute; its client has given up long before the next one is elected."""
    cluster = make()
    cluster.begin("a")
    cluster.favour("b")
    cluster.crash("a")
    cluster.frozen.add("c")
    cluster.step(5.0)
    cluster.nodes["b"].propose(b"of a minute ago")
    cluster.step(60.0)
    cluster.frozen.clear()
    cluster.elect("b")
    cluster.step(1.0)
    judge(cluster, b"of a minute ago" in cluster.nodes["b"].data, "executes a command a minute after it was given")


def test_d37_nobody_is_ready_before_the_new_leader_has_committed(make: Make) -> None:
    """All restart. Nobody knows yet what is committed, and the library calls an empty state ready."""
    cluster = make()
    cluster.begin("a")
    cluster.commit("a", b"1", b"2", b"3")
    for name in cluster.ids:
        cluster.crash(name)
    cluster.start()
    early: list[str] = []

    def all_are_ready() -> bool:
        for name, node in cluster.nodes.items():
            ready = node.engine.isReady() if cluster.name == "plain" else node.node.status().caught_up
            if ready and node.data != [b"1", b"2", b"3"]:
                early.append(name)
        return all(len(node.data) == 3 for node in cluster.nodes.values())

    cluster.until(all_are_ready, "all have applied what was committed")
    judge(cluster, early != [], "is ready with less than what is committed")


def test_d46_without_a_majority_a_leader_takes_little(make: Make) -> None:
    """The leader is alone. All that it still takes will be thrown away, and fills its memory until then."""
    cluster = make()
    cluster.begin("a")
    cluster.isolate("a")
    before, refused = cluster.last("a"), 0
    for number in range(500):
        for part in range(20):
            try:
                cluster.nodes["a"].propose(b"%d/%d" % (number, part))
            except ProposalRefused:
                refused += 1
        cluster.step()
    taken = cluster.last("a") - before
    assert (refused > 0) is (cluster.name == "ours")
    judge(cluster, taken > 2_000, "goes on taking commands that it cannot commit")


def test_d47_a_callback_that_raises_does_not_deafen(make: Make) -> None:
    """b waits for an answer of a; c is elected; b's callback raises when it is told so."""
    cluster = make()
    cluster.begin("a")
    cluster.favour("c")
    if cluster.name == "plain":
        cluster.tamper = lambda _one, _two, message: None if message["type"] == "apply_command_response" else message
        cluster.nodes["b"].engine.put(b"x", callback=_raise)
    else:
        cluster.nodes["b"].propose(b"x")
    cluster.step(0.5)
    cluster.isolate("a")
    cluster.until(lambda: cluster.nodes["c"].leads, "c leads")
    cluster.nodes["c"].propose(b"y")
    cluster.step(10.0)
    judge(cluster, b"y" not in cluster.nodes["b"].data, "hears no later leader any more")


def _raise(*_: object) -> None:
    raise Poison
