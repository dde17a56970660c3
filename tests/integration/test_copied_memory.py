"""Two machines that name one process, on real sockets: the copy of a running witness with its memory (O4)."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

import pytest
from raft_cluster import until

from proto.units import NO_LINEAGE, ClusterId, WitnessId
from witness.raft.admission import Position, Speaker
from witness.raft.introduction import Hello
from witness.raft.messages import Message
from witness.raft.peer_disks import PeerDisks
from witness.raft.peer_transport import Address, PeerTransport, Plaintext

W1, W2, W3 = (WitnessId(name) for name in ("w1", "w2", "w3"))
CLUSTER = ClusterId("ab" * 16)
AT = Position(10, 2, 2, 5)


class Marks(dict[str, bytes]):
    get_meta = dict.get

    def put_meta(self, name: str, value: bytes) -> None:
        self[name] = value


class Machine:
    """A witness without Raft: its transport and its marks."""

    def __init__(self, own: WitnessId, listen: socket.socket, peers: dict[WitnessId, Address]) -> None:
        self.own, self.process = own, own.encode().ljust(16, b"_")
        self.disks = PeerDisks(Marks())
        self.known, self.settle, self.learn = self.disks.mark, self.disks.settle, self.disks.learn
        self.up: set[WitnessId] = set()
        self.ups: list[WitnessId] = []
        self.transport = PeerTransport(
            self_id=own,
            cluster_id=CLUSTER,
            peers=peers,
            listen=listen,
            tls=Plaintext(),
            owner=self,
            rng=random.Random(1),
        )

    def introduction(self, to: WitnessId | None) -> Hello:
        said = Speaker(self.own, self.process, learner=False, position=AT, process=self.process)
        return Hello(CLUSTER, to, said, NO_LINEAGE, 1)

    def judge(self, hello: Hello, connected: Collection[bytes]) -> None:
        self.disks.judge(hello.speaker, connected)

    def admit(self, hello: Hello) -> None:
        self.disks.admit(hello.speaker)

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool, here: bool) -> None:
        self.disks.vouch(speaker, asker, counts=counts, here=here)

    def position(self) -> Position:
        return AT

    def peer_position(self, peer: WitnessId, position: Position) -> None:
        self.disks.seen(peer, position)

    def peer_up(self, peer: WitnessId, features: int) -> None:
        self.up.add(peer)
        self.ups.append(peer)

    def peer_down(self, peer: WitnessId, why: str) -> None:
        self.up.discard(peer)

    def peer_message(self, peer: WitnessId, message: Message, size: int) -> None: ...
    def peer_fault(self, peer: str, why: str) -> None: ...
    def told_forgot(self, peer: WitnessId, words: str) -> None:
        raise AssertionError(words)

    def broken(self, error: BaseException) -> None:
        raise error


def listening() -> tuple[socket.socket, Address]:
    made = socket.create_server(("127.0.0.1", 0))
    return made, made.getsockname()


async def machines() -> list[Machine]:
    """w1, w2, and w3 twice: w1 has the address of the copy, which is not started, and w2 that of the original."""
    (one, at_one), (two, at_two), (original, at_original), (copy, at_copy) = (listening() for _ in range(4))
    made = [
        Machine(W1, one, {W2: at_two, W3: at_copy}),
        Machine(W2, two, {W1: at_one, W3: at_original}),
        Machine(W3, original, {W1: at_one, W2: at_two}),
        Machine(W3, copy, {W1: at_one, W2: at_two}),
    ]
    for machine in made[:3]:
        await machine.transport.start()
    return made


async def stop(made: Collection[Machine]) -> None:
    for machine in made:
        await machine.transport.stop()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_one_process_counts_at_both_in_whatever_order_they_start(order: tuple[int, ...]) -> None:
    sockets = [listening() for _ in range(3)]
    addresses = {name: address for name, (_, address) in zip((W1, W2, W3), sockets, strict=True)}
    made = [
        Machine(own, sockets[number][0], {peer: address for peer, address in addresses.items() if peer != own})
        for number, own in enumerate((W1, W2, W3))
    ]
    for number in order:
        await made[number].transport.start()
    for machine in made:
        await until(lambda machine=machine: machine.up == {W1, W2, W3} - {machine.own}, "all are connected")
    assert not any(machine.transport.counters["second_process"] for machine in made)
    await stop(made)


async def test_o4_a_copy_does_not_count_beside_its_original_and_counts_no_worse_once_that_is_gone() -> None:
    one, two, original, copy = made = await machines()
    await until(lambda: W3 in two.up and W2 in one.up, "w2 has the original")
    await copy.transport.start()
    says = "two machines claim to be one process of w3"
    await until(lambda: says in one.transport.last_fault.get(W3, ""), "the copy was found out, and w1 says so")
    assert one.transport.counters["second_process"] > 0
    assert W3 in two.up
    assert W3 not in one.ups
    await original.transport.stop()
    await until(lambda: W3 in one.up, "with the same disk as was seen it is as good as the other one")
    await stop([machine for machine in made if machine is not original])
