"""The simplest connections that a process can have: a name is believed, one connection a peer counts, the latest one.

For subjects that bring no rules of their own about who may connect. A new connection of another process takes the
place of the old one only when that is silent, as witness.raft.peer_transport had it before disks were judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proto.errors import RemoteFault
from proto.units import NS_PER_S, WitnessId
from witness.raft.peer_link import SEND_BYTES_MAX
from witness.raft.peer_transport import HANDSHAKE_S, PING_AFTER_S, SILENT_AFTER_S

if TYPE_CHECKING:
    from witness.sim.raft.host import Host
    from witness.sim.raft.subject import Message
    from witness.sim.raft.wire import Socket

HELLO, PING, MESSAGE = b"H", b"P", b"M"
_LENGTH_BYTES = 4


class Speaker(Protocol):
    """What such connections need of their member."""

    def link_up(self, peer: WitnessId) -> None: ...
    def link_down(self, peer: WitnessId) -> None: ...
    def encode(self, message: Message) -> bytes: ...
    def receive(self, peer: WitnessId, frame: bytes) -> None:
        """Raises RemoteFault to have the connection closed."""


class NamedLinks:
    """Implements witness.sim.raft.subject.Links."""

    def __init__(self, member: Speaker, host: Host) -> None:
        self._member = member
        self._host = host
        self._current: dict[WitnessId, Socket] = {}
        self._heard_ns: dict[Socket, int] = {}
        self._sent_ns: dict[Socket, int] = {}

    def connected(self, socket: Socket) -> None:
        self._heard_ns[socket] = self._host.events.now_ns
        self._write(socket, frame(HELLO, b""))

    def received(self, socket: Socket, data: bytes) -> None:
        self._heard_ns[socket] = self._host.events.now_ns
        try:
            for kind, body in _bodies(data):
                if kind == HELLO:
                    self._introduced(socket)
                elif kind == MESSAGE and self._current.get(socket.peer) is socket:
                    self._member.receive(socket.peer, body)
                    self._host.wake()
        except RemoteFault:
            self._host.network.close(socket)

    def _introduced(self, socket: Socket) -> None:
        peer = socket.peer
        old = self._current.get(peer)
        if old is not None:
            lively = self._host.events.now_ns - self._heard_ns[old] < 2 * PING_AFTER_S * NS_PER_S
            if lively and old.other.life != socket.other.life:
                self._host.network.close(socket)
                return
            self._host.network.close(old)
        self._current[peer] = socket
        socket.up = socket.came_up = True
        self._member.link_up(peer)
        self._host.wake()

    def hung_up(self, socket: Socket) -> None:
        self._heard_ns.pop(socket, None)
        self._sent_ns.pop(socket, None)
        if self._current.get(socket.peer) is socket:
            del self._current[socket.peer]
            self._member.link_down(socket.peer)
            self._host.wake()

    def look_after(self, socket: Socket) -> None:
        now_ns, up = self._host.events.now_ns, self._current.get(socket.peer) is socket
        if now_ns - self._heard_ns[socket] > (SILENT_AFTER_S if up else HANDSHAKE_S) * NS_PER_S:
            self._host.network.close(socket)
        elif up and now_ns - self._sent_ns.get(socket, 0) >= PING_AFTER_S * NS_PER_S:
            self._write(socket, frame(PING, b""))

    def send(self, peer: WitnessId, messages: list[Message]) -> None:
        socket = self._current.get(peer)
        if socket is not None:
            self._write(socket, b"".join(frame(MESSAGE, self._member.encode(message)) for message in messages))
            if socket.waiting > SEND_BYTES_MAX:
                self._host.network.close(socket)

    def unsent_bytes(self) -> dict[WitnessId, int]:
        return {peer: socket.waiting for peer, socket in self._current.items()}

    def _write(self, socket: Socket, data: bytes) -> None:
        self._sent_ns[socket] = self._host.events.now_ns
        self._host.network.write(socket, data, _frames)


def frame(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(_LENGTH_BYTES, "big") + body


def _frames(data: bytes) -> list[tuple[bool, bytes]]:
    return [(kind == MESSAGE, frame(kind, body)) for kind, body in _bodies(data)]


def _bodies(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at, head = [], 0, 1 + _LENGTH_BYTES
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + head], "big")
        found.append((data[at : at + 1], data[at + head : at + head + size]))
        at += head + size
    return found
