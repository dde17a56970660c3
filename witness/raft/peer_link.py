"""One connection between two witnesses: frames, the mutual introduction, liveness. No policy about who may connect.

    frame:  length u32 | kind u8 | body      all bodies are msgpack; REFUSED gives a reason and is the last one

Rules: a frame above its cap closes the connection before a byte of it is kept (S5); nothing but one HELLO is read
before the introduction is accepted, and nothing of what follows counts before the owner releases the connection
(witness.raft.gate); until then questions and answers are read, all else is kept in order. A PING says how far the
sender's disk is: it goes before the messages of a turn that moved it, and at least every PING_AFTER_S, since two
followers say nothing else to each other; so what a peer counts of a disk it has also seen of it. A silent connection
is closed, and so is one on which a question stays without an answer: a third witness waits for it. Frames of one
connection arrive in order; a new connection never sees the old one's (N7).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import msgpack

from proto.errors import FrameRefused, RemoteFault
from proto.units import WitnessId
from witness.raft.admission import DiskForgot, Position, Speaker
from witness.raft.introduction import (
    Answer,
    Hello,
    Question,
    pack_answer,
    pack_hello,
    pack_position,
    pack_question,
    pack_reason,
    pack_relay,
    read_answer,
    read_hello,
    read_position,
    read_question,
    read_reason,
    read_relay,
    read_token,
)
from witness.raft.messages import ENTRIES_PER_MESSAGE_MAX, FRAME_BYTES_MAX, Message, check_message

HELLO, RAFT, PING, REFUSED, QUESTION, ANSWER, RELAY, RELAYED = range(1, 9)
SMALL_BYTES_MAX: Final = 2048
"""Of every frame but RAFT."""
HELD_BYTES_MAX: Final = 1024 * 1024
"""A connection that waits at the gate is not read beyond this."""
SEND_BYTES_MAX: Final = 32 * 1024 * 1024
"""A peer that lets more than this pile up is disconnected."""
LINGER_BYTES_MAX: Final = 64 * 1024
"""A refused peer that has not read more than this is not waited for; nor is one to relay a token."""
ANSWER_LONGEST_S: Final = 30.0
"""A question that waited behind other bytes is answered within this, whatever the way."""
MESSAGE_COST: Final = 256
"""What a waiting message takes beside its bytes, so that a flood of small ones counts too."""
_HEAD: Final = struct.Struct(">IB")


class LinkOwner(Protocol):
    def introduce(self, link: PeerLink) -> Hello: ...
    def introduced(self, link: PeerLink, hello: Hello) -> None:
        """Raises RemoteFault to refuse; `release` lets it count, now or later."""

    def position(self) -> Position:
        """How far our disk is."""

    def peer_position(self, link: PeerLink, position: Position) -> None:
        """Raises RemoteFault to refuse."""

    def message(self, link: PeerLink, message: Message, size: int) -> None: ...
    def asked(self, link: PeerLink, question: Question) -> None: ...
    def answered(self, link: PeerLink, answer: Answer) -> None: ...
    def relay(self, link: PeerLink, to: WitnessId, token: bytes) -> None:
        """The other end wants us to send this to `to`, over our own connection with it."""

    def relayed(self, link: PeerLink, token: bytes) -> None:
        """A token of ours came back."""

    def told_forgot(self, link: PeerLink, words: str) -> None:
        """A peer whose introduction we accepted refuses us: it saw our disk further than it is (witness.raft.heed)."""

    def closed(self, link: PeerLink, why: str) -> None: ...
    def broken(self, error: BaseException) -> None:
        """Our own fault: the process must end."""


def frame(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body), kind) + body


def _unpack(body: bytes) -> Any:
    try:
        return msgpack.unpackb(
            body,
            max_array_len=ENTRIES_PER_MESSAGE_MAX,
            max_map_len=16,
            max_str_len=256,
            max_bin_len=FRAME_BYTES_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise FrameRefused("a frame that is not msgpack within our limits") from error


class PeerLink(asyncio.Protocol):
    def __init__(self, owner: LinkOwner, dialed: WitnessId | None, now_s: Callable[[], float]) -> None:
        self._owner = owner
        self._now_s = now_s
        self.dialed = dialed
        self.name = dialed
        """Who it is by its word and its certificate; `peer` once its introduction was accepted."""
        self.peer: WitnessId | None = None
        self.speaker: Speaker | None = None
        self._held: list[tuple[int, bytes]] | None = []
        self._held_bytes = 0
        self.closing = False
        self.refused = False
        """One of the two ends refused the other."""
        self.refusal: str | None = None
        """Why the other end refused us, in its words."""
        self.began_s = self.received_s = now_s()
        self._sent_s = self.received_s
        self._told: Position | None = None
        self._questions: dict[bytes, tuple[WitnessId, float]] = {}
        """By their tokens: who was asked about, and when; until the answers come."""
        self._unsent_s = self.received_s
        """When something was seen to wait for the network last: a question may have been behind it."""
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._why = "connection lost"

    # -- asyncio ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.began_s = self._now_s()
        try:
            self._write(frame(HELLO, pack_hello(self._owner.introduce(self))))
        except RemoteFault as fault:
            self.refuse(str(fault))
        except BaseException as error:  # noqa: BLE001  # the loop would log and go on: our bugs end the process
            self._owner.broken(error)

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self.received_s = self._now_s()
        self._buffer += data
        self._guarded(self._read_frames)

    def _guarded(self, read: Callable[[], None]) -> None:
        try:
            read()
        except RemoteFault as fault:
            self.refuse(str(fault), forgot=isinstance(fault, DiskForgot))
        except BaseException as error:  # noqa: BLE001  # the loop would log and go on: our bugs end the process
            self._owner.broken(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        if exc is not None and self._why == "connection lost":
            self._why = f"connection lost: {exc}"
        try:
            self._owner.closed(self, self._why)
        except BaseException as error:  # noqa: BLE001  # the loop would log and go on: our bugs end the process
            self._owner.broken(error)

    # -- what the owner calls --------------------------------------------------------------------------------

    def release(self) -> None:
        """It counts from here on: what was held is read now. Reading goes on first: the owner may pause it again."""
        held, self._held = self._held or [], None
        self.resume()
        self._guarded(lambda: self._read_held(held))

    def _read_held(self, held: list[tuple[int, bytes]]) -> None:
        for kind, body in held:
            if not self.closing:
                self._read_frame(kind, body)

    def ask(self, question: Question) -> None:
        if not self.closing:
            self._questions[question.token] = question.speaker.peer, self._now_s()
            self._write(frame(QUESTION, pack_question(question)))

    def answer(self, answer: Answer) -> None:
        if not self.closing:
            self._write(frame(ANSWER, pack_answer(answer)))

    def relay(self, to: WitnessId, token: bytes) -> bool:
        """Has the other end send this to `to`. False when that cannot be done soon."""
        return self._token(RELAY, pack_relay(to, token))

    def relayed(self, token: bytes) -> None:
        """What another member had us send to this one. One that does not read is not served: it is asked again."""
        self._token(RELAYED, token)

    def _token(self, kind: int, body: bytes) -> bool:
        if self.closing or self.unsent_bytes() > LINGER_BYTES_MAX:
            return False
        self._write(frame(kind, body))
        return True

    def send(self, messages: Sequence[Message]) -> None:
        if self.closing:
            return
        told = self._where()
        self._write(told + b"".join(frame(RAFT, msgpack.packb(message)) for message in messages))
        if self.unsent_bytes() > SEND_BYTES_MAX:
            self.abort(f"more than {SEND_BYTES_MAX} bytes unsent")

    def check_alive(self, ping_after_s: float, silent_after_s: float) -> None:
        now_s = self._now_s()
        if self.unsent_bytes():
            self._unsent_s = now_s
        owed = self._owes_answer(now_s, silent_after_s)
        if now_s - self.received_s > silent_after_s:
            self.abort(f"silent for {silent_after_s:g} s")
        elif owed is not None:
            self.abort(f"gave signs of life but no answer about {owed} for {silent_after_s:g} s")
        elif self.peer is not None and not self.closing:
            if now_s - self._sent_s > ping_after_s:
                self._told = None
            self._write(self._where())

    def check_introduction(self, within_s: float) -> None:
        """For one that does not count: its time runs from its start, or a byte now and then would hold its place.

        One that was refused after its introduction is closing, and reads nothing any more.
        """
        since_s = self.began_s if self.peer is None else self.received_s
        if self._now_s() - since_s > within_s:
            self.abort(f"not introduced within {within_s:g} s")

    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def refuse(self, why: str, *, forgot: bool = False) -> None:
        """Closes and tells the peer why; what it had for us is not read any more. `forgot`: it is to heed that."""
        if self.closing:
            return
        self.refused = True
        self._write(frame(REFUSED, pack_reason(why, forgot=forgot)))
        if self.unsent_bytes() > LINGER_BYTES_MAX:
            self.abort(why)
        else:
            self.close(why)

    def close(self, why: str) -> None:
        self._end(why)
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: str) -> None:
        self._end(why)
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if self._transport is not None and not self.closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self.closing:
            self._transport.resume_reading()

    def connection_info(self, name: str) -> Any:
        return None if self._transport is None else self._transport.get_extra_info(name)

    # -- frames ----------------------------------------------------------------------------------------------

    def _end(self, why: str) -> None:
        if not self.closing:
            self._why, self.closing = why, True

    def _owes_answer(self, now_s: float, patience_s: float) -> WitnessId | None:
        for peer, asked_s in self._questions.values():
            if now_s - max(asked_s, self._unsent_s) > patience_s or now_s - asked_s > ANSWER_LONGEST_S:
                return peer
        return None

    def _where(self) -> bytes:
        """The frame that says how far our disk is, when the peer does not know it."""
        position = self._owner.position()
        if position == self._told:
            return b""
        self._told = position
        return frame(PING, pack_position(position))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._sent_s = self._now_s()
            self._transport.write(data)

    def _read_frames(self) -> None:
        buffer, at = self._buffer, 0
        while not self.closing and len(buffer) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, at)
            cap = FRAME_BYTES_MAX if self.peer is not None and kind == RAFT else SMALL_BYTES_MAX
            if length > cap:
                raise FrameRefused(f"a frame of {length} bytes; at most {cap} here")
            if len(buffer) - at < _HEAD.size + length:
                break
            body = bytes(buffer[at + _HEAD.size : at + _HEAD.size + length])
            at += _HEAD.size + length
            self._read_frame(kind, body)
        del buffer[:at]

    def _read_frame(self, kind: int, body: bytes) -> None:
        if kind == REFUSED:
            self.refusal, forgot = read_reason(body)
            self.refused = True
            self.close(f"{self.name or 'the other end'} refuses this witness: {self.refusal}")
            if forgot and self.peer is not None:
                self._owner.told_forgot(self, self.refusal)
        elif self.peer is None:
            if kind != HELLO:
                raise FrameRefused("the first frame must be the introduction")
            hello = read_hello(body)
            self.speaker = hello.speaker
            self._owner.introduced(self, hello)
            self.peer = hello.witness
        elif kind == QUESTION:
            self._owner.asked(self, read_question(body))
        elif kind == ANSWER:
            answer = read_answer(body)
            if self._questions.get(answer.token, (None,))[0] == answer.peer:
                del self._questions[answer.token]
                self._owner.answered(self, answer)
        elif kind == RELAY:
            self._owner.relay(self, *read_relay(body))
        elif kind == RELAYED:
            self._owner.relayed(self, read_token(body))
        elif self._held is not None:
            self._hold(kind, body)
        elif kind == RAFT:
            self._owner.message(self, check_message(_unpack(body)), len(body) + MESSAGE_COST)
        elif kind == PING:
            self._owner.peer_position(self, read_position(body))
        else:
            raise FrameRefused(f"a frame of unknown kind {kind}")

    def _hold(self, kind: int, body: bytes) -> None:
        if self._held is not None:
            self._held.append((kind, body))
            self._held_bytes += len(body) + MESSAGE_COST
            if self._held_bytes > HELD_BYTES_MAX:
                self.pause()
