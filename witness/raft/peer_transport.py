"""The witnesses' own network: exactly one live connection per pair, mutual TLS, known names and known disks.

Rules: the witness with the lower id dials; who the peer is comes from its certificate (the injected `identify`),
and the introduction must agree with it and with our cluster (D-21, O1); whether that disk may speak for the peer is
the owner's to say (O4, O5, O6); a second process under a living peer's name is refused and counted. Who is refused is
told why. Reconnects back off within bounds. Everything that arrives goes to one owner on one loop; this room knows
frames and peers, nothing of Raft.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from proto.errors import RemoteFault
from proto.units import ClusterId, WitnessId
from witness.raft.admission import Position
from witness.raft.gate import Gate, GateOwner
from witness.raft.introduction import TOKEN_BYTES, Answer, Hello, Question
from witness.raft.messages import Message
from witness.raft.peer_link import PeerLink

Address = tuple[str, int]

HANDSHAKE_S: Final = 5.0
DIAL_FIRST_S: Final = 0.05
DIAL_LONGEST_S: Final = 1.0
PING_AFTER_S: Final = 0.5
SILENT_AFTER_S: Final = 2.0
UPKEEP_S: Final = 0.25
INTRODUCED_WITHIN_S: Final = HANDSHAKE_S
"""A connection that has not said who it is after this ends, however often it says something else."""
UNINTRODUCED_MAX: Final = 32
"""Connections that have not said who they are; more are closed at once (S6)."""
UNINTRODUCED_OF_ONE_MAX: Final = 8
"""Of these, with one witness's certificate: one that takes many places leaves enough for the others."""


@dataclass(frozen=True, slots=True)
class PeerTls:
    """Contexts that demand TLS 1.3 and a certificate of our CA; `identify` reads the witness id from it."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    identify: Callable[[ssl.SSLObject], str]
    """The witness id that the peer's certificate names; raises RemoteFault when its role or cluster is wrong."""


class Plaintext:
    """Says in the call that there is no TLS: for tests and benchmarks on loopback only."""


class TransportOwner(GateOwner, Protocol):
    def introduction(self, to: WitnessId | None) -> Hello:
        """What we say of ourselves; what it says is on disk. Raises RemoteFault when we say nothing any more."""

    def admit(self, hello: Hello) -> None:
        """Raises RemoteFault when this disk may not speak for this witness; what it leaves is durable with the next
        turn.
        """

    def position(self) -> Position: ...
    def peer_position(self, peer: WitnessId, position: Position) -> None:
        """Raises RemoteFault when it went back."""

    def peer_up(self, peer: WitnessId, features: int) -> None: ...
    def peer_down(self, peer: WitnessId, why: str) -> None: ...
    def peer_message(self, peer: WitnessId, message: Message, size: int) -> None: ...
    def peer_fault(self, peer: str, why: str) -> None:
        """A connection ended, or none came up: for the log."""

    def told_forgot(self, peer: WitnessId, words: str) -> None:
        """That peer, by its certificate, says that our disk is behind what was seen of it."""

    def broken(self, error: BaseException) -> None: ...


def _token() -> bytes:
    return secrets.token_bytes(TOKEN_BYTES)


class PeerTransport:
    def __init__(
        self,
        *,
        self_id: WitnessId,
        cluster_id: ClusterId,
        peers: Mapping[WitnessId, Address],
        listen: Address | socket.socket,
        tls: PeerTls | Plaintext,
        owner: TransportOwner,
        rng: random.Random,
    ) -> None:
        self._self_id = self_id
        self._cluster_id = cluster_id
        self._peers = dict(peers)
        self._listen = listen
        self._tls = tls
        self._owner = owner
        self._rng = rng
        self._links: dict[WitnessId, PeerLink] = {}
        self._unintroduced: dict[PeerLink, str | None] = {}
        """With the witness that the certificate names; None without TLS."""
        self._dialled: dict[PeerLink, asyncio.Event] = {}
        """Set when that very connection has ended: a late end of an earlier one is not taken for it."""
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._loop = asyncio.get_running_loop()
        self._gate = Gate(owner, self._peers, self._links, self._let_in, self._retire, self._now_s, _token)
        self.counters = self._gate.counters
        self.last_fault: dict[str, str] = {}
        """The latest refusal per peer or address, for the status page; bounded by the known peers plus one."""
        self.refusals: dict[WitnessId, str] = {}
        """Peers that refused us when we met last, and why."""

    async def start(self) -> None:
        server_ssl = self._tls.server if isinstance(self._tls, PeerTls) else None
        handshake = HANDSHAKE_S if server_ssl is not None else None
        if isinstance(self._listen, socket.socket):
            self._server = await self._loop.create_server(
                self._accepted, sock=self._listen, ssl=server_ssl, ssl_handshake_timeout=handshake
            )
        else:
            host, port = self._listen
            self._server = await self._loop.create_server(
                self._accepted, host, port, ssl=server_ssl, ssl_handshake_timeout=handshake, reuse_address=True
            )
        for peer in self._peers:
            if self._self_id < peer:
                self._spawn(self._keep_dialing(peer))
        self._spawn(self._upkeep())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """These tasks run until `stop`; one that ends by itself would leave us deaf without a word."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._owner.broken(error)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            await asyncio.wait([task])
        if self._server is not None:
            self._server.close()
        for link in [*self._links.values(), *self._unintroduced]:
            link.abort("the witness stops")
        await asyncio.sleep(0)

    def send(self, peer: WitnessId, messages: Sequence[Message]) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.send(messages)

    def unsent_bytes(self) -> dict[WitnessId, int]:
        return {peer: link.unsent_bytes() for peer, link in self._links.items()}

    def pause_reading(self, peer: WitnessId) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.pause()

    def resume_reading(self, peer: WitnessId) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.resume()

    # -- connecting ------------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._loop.time()

    def _accepted(self) -> PeerLink:
        return PeerLink(self, None, self._now_s)

    async def _keep_dialing(self, peer: WitnessId) -> None:
        delay_s = DIAL_FIRST_S
        while True:
            if await self._dial(peer):
                delay_s = DIAL_FIRST_S
            await asyncio.sleep(delay_s * (0.5 + self._rng.random()))
            delay_s = min(delay_s * 2, DIAL_LONGEST_S)

    async def _dial(self, peer: WitnessId) -> bool:
        """One connection from its start to its end; True when it came up."""
        host, port = self._peers[peer]
        client_ssl = self._tls.client if isinstance(self._tls, PeerTls) else None
        link = PeerLink(self, peer, self._now_s)
        ended = self._dialled[link] = asyncio.Event()
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._loop.create_connection(lambda: link, host, port, ssl=client_ssl)
        except (OSError, TimeoutError) as error:
            self._dialled.pop(link, None)
            self._fault(peer, str(error) or "no answer")
            return False
        await ended.wait()
        return link.peer is not None and not link.refused

    async def _upkeep(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP_S)
            for link in list(self._links.values()):
                link.check_alive(PING_AFTER_S, SILENT_AFTER_S)
            waiting = self._gate.waiting
            for link in waiting:
                link.check_alive(PING_AFTER_S, SILENT_AFTER_S)
            for link in self._unintroduced.keys() - set(waiting):
                link.check_introduction(INTRODUCED_WITHIN_S)
            self._gate.upkeep()

    # -- what links call (LinkOwner) -------------------------------------------------------------------------

    def introduce(self, link: PeerLink) -> Hello:
        named = self._named_by_certificate(self._tls, link) if isinstance(self._tls, PeerTls) else None
        if named is not None and named not in self._peers:
            raise RemoteFault(f"the certificate names {named}, who is not a peer of {self._self_id} here")
        places = list(self._unintroduced.values())
        if len(places) >= UNINTRODUCED_MAX or (named and places.count(named) >= UNINTRODUCED_OF_ONE_MAX):
            raise RemoteFault("too many connections that have not introduced themselves")
        sock = link.connection_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # the socket may be gone already; then nothing is lost
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unintroduced[link] = named
        return self._owner.introduction(link.dialed)

    def introduced(self, link: PeerLink, hello: Hello) -> None:
        peer = hello.witness
        if isinstance(self._tls, PeerTls):
            named = self._named_by_certificate(self._tls, link)
            if named != peer:
                raise RemoteFault(f"the certificate names {named}, the introduction {peer}")
        if peer in self._peers:
            link.name = peer
        if hello.cluster != self._cluster_id:
            raise RemoteFault(
                f"{peer} is of cluster {hello.cluster}, not of {self._cluster_id}: check the addresses of peers in "
                "both configurations, and whose data directory that is"
            )
        if peer not in self._peers or hello.to not in {None, self._self_id}:
            raise RemoteFault(f"{peer} is not a peer of {self._self_id} here, or looks for {hello.to}")
        if (link.dialed is None) != (peer < self._self_id) or link.dialed not in {None, peer}:
            raise RemoteFault(f"{peer} answered where {link.dialed or 'a lower id'} was expected")
        self._gate.introduced(link, hello)

    def _let_in(self, link: PeerLink, hello: Hello) -> None:
        """Called by the gate."""
        peer = hello.witness
        self._owner.admit(hello)
        old = self._links.get(peer)
        if old is not None:
            self._retire(old, peer)
        self._unintroduced.pop(link, None)
        self._links[peer] = link
        self.refusals.pop(peer, None)
        self._owner.peer_up(peer, hello.features)
        link.release()

    def _retire(self, old: PeerLink, peer: WitnessId) -> None:
        del self._links[peer]
        self._owner.peer_down(peer, "replaced by a new connection")
        old.abort("replaced by a new connection")

    @staticmethod
    def _named_by_certificate(tls: PeerTls, link: PeerLink) -> str:
        try:
            return tls.identify(link.connection_info("ssl_object"))
        except RemoteFault:
            raise
        except Exception as error:  # whatever a certificate makes its reader raise is the peer's fault
            raise RemoteFault(f"the certificate cannot be read: {type(error).__name__}") from error

    def position(self) -> Position:
        return self._owner.position()

    def peer_position(self, link: PeerLink, position: Position) -> None:
        if link.peer is not None and self._links.get(link.peer) is link:
            self.last_fault.pop(link.peer, None)
            self._owner.peer_position(link.peer, position)

    def message(self, link: PeerLink, message: Message, size: int) -> None:
        if link.peer is not None and self._links.get(link.peer) is link:
            self._owner.peer_message(link.peer, message, size)

    def asked(self, link: PeerLink, question: Question) -> None:
        self._gate.asked(link, question)

    def answered(self, link: PeerLink, answer: Answer) -> None:
        self._gate.answered(link, answer)

    def relay(self, link: PeerLink, to: WitnessId, token: bytes) -> None:  # noqa: ARG002  # whoever asks
        named = {other: other.name for other in self._links.values()}
        for other, name in {**self._unintroduced, **named}.items():
            if to in {name, other.name}:
                other.relayed(token)

    def relayed(self, link: PeerLink, token: bytes) -> None:
        self._gate.relayed(link, token)

    def told_forgot(self, link: PeerLink, words: str) -> None:
        if link.peer is not None:
            self._owner.told_forgot(link.peer, words)

    def closed(self, link: PeerLink, why: str) -> None:
        self._unintroduced.pop(link, None)
        self.counters["refused_connections"] += link.refused
        self._fault(link.name or "unknown", why)
        if link.name in self._peers and link.refusal is not None:
            self.refusals[link.name] = link.refusal
        if link.peer is not None and self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._owner.peer_down(link.peer, why)
        self._gate.closed(link)
        ended = self._dialled.pop(link, None)
        if ended is not None:
            ended.set()

    def _fault(self, peer: str, why: str) -> None:
        self.last_fault[peer] = why
        self._owner.peer_fault(peer, why)

    def broken(self, error: BaseException) -> None:
        self._owner.broken(error)
