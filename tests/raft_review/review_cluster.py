"""One small cluster in lockstep, for scenarios told step by step: which message is held, doubled, lost, and when.

A scenario is written once and runs on two bodies: `plain` is the library as it is shipped (tests/raft_plain), `ours`
is the node that ships (witness.raft.node) on the simulated disk. Time moves only in `step`; every step delivers what
was sent before it and gives each running node one turn. Elections go to whom the test favours.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

Message = dict[str, Any]
Wire = tuple[str, str]
Make = Callable[..., Any]
"""make(ids, settings) -> a cluster that has not started; settings are of the library, ours has no use for them."""
STEP_S = 0.01
PATIENCE_S = 30.0
THREE = ("a", "b", "c")
FIVE = ("a", "b", "c", "d", "e")


def judge(cluster: Cluster, broken: bool, what: str) -> None:
    """The library as shipped does `what`, ours does not. A release that repairs it must be noticed too."""
    if cluster.name == "plain":
        assert broken, f"the library no longer does this, look at it again: {what}"
    else:
        assert not broken, what


class Node(Protocol):
    """A running process of either body."""

    acknowledged: list[bytes]
    """What its client was told is done."""

    @property
    def data(self) -> list[bytes]: ...
    @property
    def leads(self) -> bool: ...
    @property
    def leader(self) -> str | None: ...
    @property
    def term(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def applied_index(self) -> int: ...
    @property
    def log(self) -> list[tuple[int, int]]: ...
    def link_up(self, peer: str) -> None: ...
    def link_down(self, peer: str) -> None: ...
    def receive(self, peer: str, message: Message) -> None: ...
    def turn(self) -> None: ...
    def propose(self, data: bytes) -> None: ...
    def compact(self) -> None: ...


class Favour:
    """A witness's random source: whom the test favours draws the shortest timeouts."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._place = cluster.ids.index(name)

    def random(self) -> float:
        favoured = self._cluster.favourite == self._cluster.ids[self._place]
        return 0.0 if favoured else 0.5 + 0.1 * self._place


class Cluster(ABC):
    """What both bodies share: wires, time, who runs. A body says how a process starts on its disk."""

    name = ""

    def __init__(self, ids: tuple[str, ...] = THREE) -> None:
        self.ids = ids
        self.now_s = 100.0
        self.favourite = ids[0]
        self.nodes: dict[str, Node] = {}
        self.wires: dict[Wire, deque[Message]] = {(a, b): deque() for a in ids for b in ids if a != b}
        self.held: set[Wire] = set()
        """Wires on which messages wait until `release` or `lose`."""
        self.frozen: set[str] = set()
        """Processes that are stopped: what comes for them waits."""
        self.cut: set[Wire] = set()
        """Wires that lose what is sent into them."""
        self.sent: list[tuple[str, str, Message]] = []
        self.tamper: Callable[[str, str, Message], Message | None] | None = None
        """Sees each message as it is sent; what it returns travels."""
        self._linked: set[frozenset[str]] = set()

    # -- life ------------------------------------------------------------------------------------------------

    @abstractmethod
    def open(self, name: str) -> Node:
        """A new process on the disk of this name, wherever the one before it stopped."""

    def start(self, *names: str) -> None:
        """Starts processes and links each with all that run."""
        for name in names or self.ids:
            self.nodes[name] = self.open(name)
        for name in names or self.ids:
            self.heal(name)

    def crash(self, name: str) -> None:
        """kill -9: the files stay as they are."""
        for peer in self.peers(name):
            self.unlink(name, peer)
        del self.nodes[name]

    def end(self) -> None:
        """The test is over."""
        for name in tuple(self.nodes):
            self.crash(name)

    def peers(self, name: str) -> list[str]:
        return [peer for peer in self.ids if peer != name]

    # -- wires -----------------------------------------------------------------------------------------------

    def link(self, a: str, b: str) -> None:
        pair = frozenset((a, b))
        if pair not in self._linked and a in self.nodes and b in self.nodes:
            self._linked.add(pair)
            self.nodes[a].link_up(b)
            self.nodes[b].link_up(a)

    def unlink(self, a: str, b: str) -> None:
        """The connection ends; what was under way in it is lost."""
        pair = frozenset((a, b))
        if pair not in self._linked:
            return
        self._linked.discard(pair)
        for one, other in ((a, b), (b, a)):
            self.wires[one, other].clear()
            if one in self.nodes:
                self.nodes[one].link_down(other)

    def isolate(self, *camp: str) -> None:
        """Only those within the camp, and only those outside of it, stay connected."""
        for name in camp:
            for peer in self.peers(name):
                if peer not in camp:
                    self.unlink(name, peer)

    def heal(self, *names: str) -> None:
        for name in names or tuple(self.nodes):
            for peer in self.peers(name):
                self.link(name, peer)

    def post(self, sender: str, to: str, message: Message) -> None:
        if frozenset((sender, to)) not in self._linked:
            return
        self.sent.append((sender, to, message))
        if (sender, to) in self.cut:
            return
        travels = message if self.tamper is None else self.tamper(sender, to, copy.deepcopy(message))
        if travels is not None:
            self.wires[sender, to].append(copy.deepcopy(travels))

    def hand(self, sender: str, to: str, message: Message) -> None:
        """A message arrives now, whatever the wires hold: a copy, a late one, one of another connection."""
        self.nodes[to].receive(sender, copy.deepcopy(message))

    def release(self, sender: str, to: str) -> None:
        self.held.discard((sender, to))

    def lose(self, sender: str, to: str) -> list[Message]:
        lost = list(self.wires[sender, to])
        self.wires[sender, to].clear()
        return lost

    def seen(self, sender: str, to: str, kind: str) -> list[Message]:
        return [message for one, two, message in self.sent if (one, two) == (sender, to) and message["type"] == kind]

    def first_of(self, sender: str, to: str, what: str) -> None:
        """Lets a held wire deliver, one by one, up to the first message that has the field `what`."""
        queue = self.wires[sender, to]
        self.until(lambda: any(what in message for message in queue), f"{sender} sends {what} to {to}")
        while True:
            message = queue.popleft()
            self.nodes[to].receive(sender, message)
            if what in message:
                return

    # -- time ------------------------------------------------------------------------------------------------

    def step(self, span_s: float = STEP_S) -> None:
        end_s = self.now_s + span_s - STEP_S / 2
        while self.now_s < end_s:
            self.pass_time()
            self._deliver()
            for name in list(self.nodes):
                if name not in self.frozen:
                    self.turn(name)

    def pass_time(self) -> None:
        self.now_s += STEP_S

    def turn(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is not None:
            node.turn()

    def _deliver(self) -> None:
        arriving = {wire: list(queue) for wire, queue in self.wires.items() if wire not in self.held and queue}
        for (sender, to), messages in arriving.items():
            if to in self.frozen or to not in self.nodes:
                continue
            self.wires[sender, to].clear()
            for message in messages:
                if to in self.nodes:
                    self.nodes[to].receive(sender, message)

    def until(self, condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        assert self.happens(condition, within_s), f"not within {within_s} s: {what}"

    def happens(self, condition: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
        end_s = self.now_s + within_s
        while not condition():
            if self.now_s >= end_s:
                return False
            self.step()
        return True

    # -- what scenarios say ----------------------------------------------------------------------------------

    def begin(self, leader: str) -> Node:
        """All start, and `leader` leads."""
        self.favourite = leader
        self.start()
        return self.elect(leader)

    def favour(self, name: str) -> None:
        """From their next timeout on, which every heartbeat sets anew."""
        self.favourite = name
        self.step(0.5)

    def elect(self, name: str, among: Iterable[str] | None = None) -> Node:
        """Until `name` leads and all of `among` (everyone that runs) follow it and have its first entry."""
        camp = tuple(among or self.nodes)
        self.favourite = name
        self.until(lambda: self.nodes[name].leads, f"{name} leads")
        self.until(lambda: all(self.nodes[peer].leader == name for peer in camp), f"{name} is followed by {camp}")
        self.level(*camp)
        return self.nodes[name]

    def level(self, *names: str) -> None:
        """Until all have the same log and have applied it."""
        camp = [self.nodes[name] for name in names or self.nodes]

        def same() -> bool:
            return len({(node.log[-1], node.applied_index) for node in camp}) == 1 and all(
                node.applied_index == node.log[-1][0] for node in camp
            )

        self.until(same, f"{names} have the same log, applied")

    def commit(self, name: str, *data: bytes, among: Iterable[str] | None = None) -> None:
        """Proposes at `name` and waits until all of `among` have applied it."""
        camp = tuple(among or self.nodes)
        for one in data:
            self.nodes[name].propose(one)
        self.until(lambda: all(set(data) <= set(self.nodes[peer].data) for peer in camp), f"{data} applied by {camp}")

    def compact(self, name: str) -> None:
        """A snapshot of its own, and the log cut behind it."""
        node = self.nodes[name]
        first = node.log[0][0]
        node.compact()
        self.turn(name)
        self.snapshot_done(name)
        self.until(lambda: node.log[0][0] > first, f"{name} cut its log")

    @abstractmethod
    def snapshot_done(self, name: str) -> None:
        """Waits for what takes real time."""

    def last(self, name: str) -> int:
        return self.nodes[name].log[-1][0]
