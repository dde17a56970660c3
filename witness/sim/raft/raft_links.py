"""The connections of the process that ships: its own PeerLink, Gate and PeerDisks on simulated sockets.

Rule: framing, introduction, the question to the others, marks, signs of life and refusals are witness.raft's code. What
stands here is what witness.raft.peer_transport and syncobj do around it on asyncio: which link counts, and when the
owner's turn comes. There is no TLS: a machine's certificate names its witness.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from proto.errors import RemoteFault
from proto.units import NS_PER_S, WitnessId
from witness.raft.admission import Mark, Position, Speaker
from witness.raft.gate import Gate
from witness.raft.heed import heed
from witness.raft.introduction import TOKEN_BYTES, Answer, Hello, Question
from witness.raft.ourselves import our_hello, require_fitting_lineage
from witness.raft.peer_disks import PeerDisks, position_of, record_start
from witness.raft.peer_link import RAFT, PeerLink
from witness.raft.peer_transport import INTRODUCED_WITHIN_S, PING_AFTER_S, SILENT_AFTER_S
from witness.sim.disk import CrashPoint
from witness.sim.raft.subject import PowerLost

if TYPE_CHECKING:
    from witness.raft.node import RaftNode
    from witness.raft.store import Store
    from witness.sim.raft.host import Host
    from witness.sim.raft.subject import Message, Seat
    from witness.sim.raft.wire import Socket

_HEAD = struct.Struct(">IB")


class _Pipe:
    """What PeerLink uses of an asyncio.Transport."""

    def __init__(self, socket: Socket, host: Host) -> None:
        self._socket = socket
        self._host = host

    def write(self, data: bytes) -> None:
        self._host.network.write(self._socket, data, frames_of)

    def close(self) -> None:
        """The link is told that it is lost in a later step, as asyncio does."""
        self._host.do_soon(partial(self._host.network.close, self._socket))

    abort = close

    def get_write_buffer_size(self) -> int:
        return self._socket.waiting

    def get_extra_info(self, _name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        """Nothing is held back: what a peer may send before it counts is little."""

    resume_reading = pause_reading


class RaftLinks:
    """Implements witness.sim.raft.subject.Links; LinkOwner and GateOwner of witness.raft."""

    def __init__(self, node: RaftNode, store: Store, seat: Seat, host: Host) -> None:
        self.disks = PeerDisks(store)
        self._node = node
        self._store = store
        self._host = host
        self._self_id = seat.witness
        self._peers = frozenset(seat.peers)
        self._process = seat.rng.randbytes(16)
        self._start: tuple[int, tuple[bytes, ...]] | None = None
        self._links: dict[WitnessId, PeerLink] = {}
        self._sockets: dict[Socket, PeerLink] = {}
        draw = partial(random.Random(self._process).randbytes, TOKEN_BYTES)  # noqa: S311  # a simulation, not a secret
        self._gate = Gate(self, self._peers, self._links, self._let_in, self._retire, self._now_s, draw)

    def _now_s(self) -> float:
        return self._host.events.now_ns / NS_PER_S

    # -- what the host calls (Links) -------------------------------------------------------------------------

    def connected(self, socket: Socket) -> None:
        dialled = self._host.network.witness_at(socket.peer) if socket.dialled else None
        link = self._sockets[socket] = PeerLink(self, dialled, self._now_s)
        link.connection_made(_Pipe(socket, self._host))  # type: ignore[arg-type]  # the part of a transport that it uses

    def received(self, socket: Socket, data: bytes) -> None:
        self._sockets[socket].data_received(data)

    def hung_up(self, socket: Socket) -> None:
        link = self._sockets.pop(socket)
        socket.came_up = link.peer is not None and not link.refused
        if link.refused:
            self._host.watch.hit("refused-connection")
            self._host.refusal = link.refusal or self._host.refusal
        link.connection_lost(None)

    def look_after(self, socket: Socket) -> None:
        link = self._sockets[socket]
        known = link in self._links.values() or link in self._gate.waiting
        if known:
            link.check_alive(PING_AFTER_S, SILENT_AFTER_S)
        else:
            link.check_introduction(INTRODUCED_WITHIN_S)
        self._gate.upkeep()

    def send(self, peer: WitnessId, messages: list[Message]) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.send(messages)

    def unsent_bytes(self) -> dict[WitnessId, int]:
        return {peer: link.unsent_bytes() for peer, link in self._links.items()}

    # -- what links call (LinkOwner) -------------------------------------------------------------------------

    def introduce(self, link: PeerLink) -> Hello:
        if self._start is None:
            self._start = record_start(self._store, self._process)
            self._host.turn_now()  # our start is on disk before anyone hears of it
        return our_hello(self._store, self._node.standing, self._process, self._start, link.dialed)

    def introduced(self, link: PeerLink, hello: Hello) -> None:
        peer = hello.witness
        link.name = peer
        if hello.cluster != self._store.cluster_id:
            raise RemoteFault(f"{peer} is of cluster {hello.cluster}")
        if peer not in self._peers or hello.to not in {None, self._self_id} or link.dialed not in {None, peer}:
            raise RemoteFault(f"{peer} is not a peer of {self._self_id} here, or looks for {hello.to}")
        self._gate.introduced(link, hello)

    def position(self) -> Position:
        return position_of(self._store)

    def peer_position(self, link: PeerLink, position: Position) -> None:
        if link.peer is not None and self._links.get(link.peer) is link:
            self.disks.seen(link.peer, position)

    def message(self, link: PeerLink, message: Message, size: int) -> None:
        if link.peer is not None and self._links.get(link.peer) is link:
            self._node.receive(link.peer, message, size)
            self._host.wake()

    def asked(self, link: PeerLink, question: Question) -> None:
        self._gate.asked(link, question)

    def answered(self, link: PeerLink, answer: Answer) -> None:
        self._gate.answered(link, answer)

    def relay(self, link: PeerLink, to: WitnessId, token: bytes) -> None:  # noqa: ARG002  # whoever asks
        for socket, other in list(self._sockets.items()):
            if self._host.network.witness_at(socket.peer) == to:
                other.relayed(token)

    def relayed(self, link: PeerLink, token: bytes) -> None:
        self._gate.relayed(link, token)

    def told_forgot(self, link: PeerLink, words: str) -> None:
        if link.peer is not None:
            try:
                self.broken(heed(self._store, link.peer, words))
            except CrashPoint as crash:
                raise PowerLost(str(crash)) from crash

    def closed(self, link: PeerLink, why: str) -> None:
        if link.peer is not None and self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._down(link.peer, why)
        self._gate.closed(link)

    def broken(self, error: BaseException) -> None:
        self._host.fell(error)

    # -- what the gate calls (GateOwner) ---------------------------------------------------------------------

    def judge(self, hello: Hello, connected: Collection[bytes]) -> None:
        require_fitting_lineage(self._store, self._node.standing, hello)
        self.disks.judge(hello.speaker, connected)

    def vouch(self, speaker: Speaker, asker: bytes, *, counts: bool, here: bool) -> None:
        if self.disks.vouch(speaker, asker, counts=counts, here=here):
            self._host.turn_now()  # on disk before the answer leaves

    def settle(self, speaker: Speaker, asker: bytes) -> None:
        self.disks.settle(speaker, asker)

    def learn(self, peer: WitnessId, theirs: Mark) -> None:
        self.disks.learn(peer, theirs)
        self._host.wake()

    def known(self, peer: WitnessId) -> Mark | None:
        return self.disks.mark(peer)

    def _let_in(self, link: PeerLink, hello: Hello) -> None:
        peer = hello.witness
        self.disks.admit(hello.speaker)
        old = self._links.get(peer)
        if old is not None:
            self._retire(old, peer)
        self._links[peer] = link
        for socket, known in self._sockets.items():
            if known is link:
                socket.up = True
        self._host.note(f"is connected with {peer}")
        self._node.link_up(peer, hello.features)
        self._host.wake()
        link.release()

    def _retire(self, old: PeerLink, peer: WitnessId) -> None:
        del self._links[peer]
        self._down(peer, "replaced by a new connection")
        old.abort("replaced by a new connection")

    def _down(self, peer: WitnessId, why: str) -> None:
        self._host.note(f"loses the connection with {peer}: {why}")
        self._node.link_down(peer)
        self.disks.keep(peer)
        self._host.wake()


def frames_of(data: bytes) -> list[tuple[bool, bytes]]:
    """Raft's messages may be lost, doubled or late on a bad way; what TCP alone must carry in order may not."""
    found, at = [], 0
    while at < len(data):
        length, kind = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        found.append((kind == RAFT, data[at:end]))
        at = end
    return found
