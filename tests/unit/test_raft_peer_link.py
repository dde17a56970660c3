"""One connection: what ends it while the other end still gives signs of life."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgpack
import pytest

from proto.errors import RemoteFault
from proto.units import NO_LINEAGE, ClusterId, WitnessId
from witness.raft.admission import Position, Speaker
from witness.raft.introduction import Answer, Hello, Question, pack_answer, pack_hello, pack_position, pack_relay
from witness.raft.messages import Message
from witness.raft.peer_link import (
    ANSWER,
    ANSWER_LONGEST_S,
    HELLO,
    LINGER_BYTES_MAX,
    PING,
    RAFT,
    RELAY,
    RELAYED,
    PeerLink,
    frame,
)
from witness.raft.peer_transport import (
    PING_AFTER_S,
    SILENT_AFTER_S,
    UNINTRODUCED_MAX,
    UNINTRODUCED_OF_ONE_MAX,
    PeerTls,
    PeerTransport,
    Plaintext,
)

W1, W2, W3 = (WitnessId(name) for name in ("w1", "w2", "w3"))
CLUSTER = ClusterId("c")
AT = Position(10, 2, 2, 5)
TOKEN = b"t" * 16
THIRD = Speaker(W3, b"3" * 16, learner=False, position=AT, process=b"p" * 16)
OTHER = Speaker(W2, b"2" * 16, learner=False, position=AT, process=b"q" * 16)


class Pipe:
    def __init__(self) -> None:
        self.unsent, self.aborted, self.reads = 0, False, True
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Owner:
    """Of links, and of a transport."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.answers: list[Answer] = []
        self.tokens: list[tuple[object, ...]] = []
        self.full = False

    def introduce(self, link: PeerLink) -> Hello:
        return self.introduction(link.dialed)

    def introduction(self, to: WitnessId | None) -> Hello:
        return Hello(CLUSTER, to, OTHER, NO_LINEAGE, 1)

    def introduced(self, link: PeerLink, hello: Hello) -> None: ...
    def position(self) -> Position:
        return AT

    def peer_position(self, link: PeerLink, position: Position) -> None: ...
    def answered(self, link: PeerLink, answer: Answer) -> None:
        self.answers.append(answer)

    def message(self, link: PeerLink, message: Message, size: int) -> None:
        if self.full:
            link.pause()

    def relay(self, link: PeerLink, to: WitnessId, token: bytes) -> None:
        self.tokens.append(("relay", to, token))

    def relayed(self, link: PeerLink, token: bytes) -> None:
        self.tokens.append(("relayed", token))

    def told_forgot(self, link: PeerLink, words: str) -> None:
        raise AssertionError(words)

    def peer_fault(self, peer: str, why: str) -> None:
        self.faults.append(why)

    def broken(self, error: BaseException) -> None:
        raise error


class End:
    """A connection that counts, whose other end signs its life every half second."""

    def __init__(self, *, release: bool = True) -> None:
        self.now_s, self.pipe, self.owner = 0.0, Pipe(), Owner()
        self.link = PeerLink(self.owner, W2, lambda: self.now_s)  # type: ignore[arg-type] - the part that is used
        self.link.connection_made(self.pipe)  # type: ignore[arg-type] - a fake
        hello = Hello(CLUSTER, None, OTHER, NO_LINEAGE, 1)
        self.link.data_received(frame(HELLO, pack_hello(hello)))
        if release:
            self.link.release()

    def live(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s and not self.pipe.aborted:
            self.now_s += 0.25
            self.link.data_received(frame(PING, pack_position(AT)))
            self.link.check_alive(PING_AFTER_S, SILENT_AFTER_S)


def test_who_pings_and_never_answers_a_question_is_disconnected_within_the_bound() -> None:
    end = End()
    end.live(10)
    assert not end.pipe.aborted
    end.link.ask(Question(THIRD, None, TOKEN))
    end.live(SILENT_AFTER_S)
    assert not end.pipe.aborted
    end.live(0.5)
    assert end.pipe.aborted


@pytest.mark.parametrize(("peer", "token", "ends"), [(W3, TOKEN, False), (W3, b"x" * 16, True), (W1, TOKEN, True)])
def test_only_the_answer_to_the_question_counts(peer: WitnessId, token: bytes, ends: bool) -> None:
    end = End()
    end.link.ask(Question(THIRD, None, TOKEN))
    end.live(1)
    end.link.data_received(frame(ANSWER, pack_answer(Answer(peer, THIRD.process, token, "", None))))
    end.live(10)
    assert end.pipe.aborted is ends
    assert len(end.owner.answers) == (not ends)


def test_a_question_behind_a_long_queue_has_its_time_from_when_it_left_and_no_longer_than_the_limit() -> None:
    end = End()
    end.pipe.unsent = 1
    end.link.ask(Question(THIRD, None, TOKEN))
    end.live(10)
    assert not end.pipe.aborted
    end.pipe.unsent = 0
    end.live(SILENT_AFTER_S - 0.25)
    assert not end.pipe.aborted
    end.live(0.5)
    assert end.pipe.aborted
    end = End()
    end.pipe.unsent = 1
    end.link.ask(Question(THIRD, None, TOKEN))
    end.live(ANSWER_LONGEST_S + 0.5)
    assert end.pipe.aborted


@pytest.mark.parametrize("full", [True, False])
def test_one_that_is_let_in_is_read_on_unless_its_owner_is_full_by_then(full: bool) -> None:
    """R6: what was held may already be more than the owner takes, and it counts on its pause."""
    end = End(release=False)
    vote = frame(RAFT, msgpack.packb({"type": "response_vote", "term": 1}))
    while end.pipe.reads:
        end.link.data_received(100 * vote)
    end.owner.full = full
    end.link.release()
    assert end.pipe.reads is not full


def test_a_token_is_sent_as_one_that_was_given_and_comes_back() -> None:
    end = End()
    assert end.link.relay(W3, TOKEN)
    end.link.relayed(TOKEN)
    assert end.pipe.written[-2:] == [frame(RELAY, pack_relay(W3, TOKEN)), frame(RELAYED, TOKEN)]
    for written in end.pipe.written[-2:]:
        end.link.data_received(written)
    assert end.owner.tokens == [("relay", W3, TOKEN), ("relayed", TOKEN)]


def test_one_that_does_not_read_is_given_no_token() -> None:
    end = End()
    end.pipe.unsent = LINGER_BYTES_MAX + 1
    written = len(end.pipe.written)
    assert not end.link.relay(W3, TOKEN)
    end.link.relayed(TOKEN)
    assert len(end.pipe.written) == written


async def test_a_late_end_of_an_earlier_dial_is_not_taken_for_the_end_of_the_connection_that_runs() -> None:
    """Else a second connection would be dialled beside the first one."""
    accepted = asyncio.Event()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await ends.wait()
        writer.close()

    ends = asyncio.Event()
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    where: Any = server.sockets[0].getsockname()
    owner = Owner()
    transport = PeerTransport(
        self_id=W1,
        cluster_id=CLUSTER,
        peers={W2: (where[0], where[1])},
        listen=("127.0.0.1", 0),
        tls=Plaintext(),
        owner=owner,  # type: ignore[arg-type] - the part of an owner that is used
        rng=random.Random(1),
    )
    dial = asyncio.create_task(transport._dial(W2))
    await accepted.wait()
    transport.closed(PeerLink(transport, W2, lambda: 0.0), "an earlier one")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not dial.done()
    ends.set()
    await dial
    server.close()


class Stranger:
    """A connection that says nothing; `name` is what its certificate says, none: that of an agent."""

    dialed = None

    def __init__(self, name: str) -> None:
        self._name = name
        self.name: str | None = None
        self.tokens: list[bytes] = []

    def relayed(self, token: bytes) -> None:
        self.tokens.append(token)

    def connection_info(self, what: str) -> str | None:
        return self._name if what == "ssl_object" else None


def identify(name: Any) -> str:
    if not name:
        raise RemoteFault("its role is agent")
    return str(name)


def guarded() -> PeerTransport:
    """With TLS and without a connection."""
    owner = Owner()
    owner.introduction = lambda _to: "hello"  # type: ignore[attr-defined] - the part of an owner that is used
    return PeerTransport(
        self_id=W1,
        cluster_id=CLUSTER,
        peers={W2: ("", 0), W3: ("", 0)},
        listen=("", 0),
        tls=PeerTls(None, None, identify),  # type: ignore[arg-type] - no connection is made
        owner=owner,  # type: ignore[arg-type] - the part of an owner that is used
        rng=random.Random(1),
    )


async def test_neither_a_stranger_nor_one_witness_takes_the_places_of_the_others() -> None:
    """Whoever has a certificate of the CA gets through TLS; places are for peers, and some for each."""
    transport = guarded()

    def comes(name: str) -> Any:
        return transport.introduce(Stranger(name))  # type: ignore[arg-type] - the part of a link that is used

    for _ in range(UNINTRODUCED_MAX):
        with pytest.raises(RemoteFault, match="its role is agent"):
            comes("")
        with pytest.raises(RemoteFault, match="names w9, who is not a peer of w1"):
            comes("w9")
    for _ in range(UNINTRODUCED_OF_ONE_MAX):
        assert comes(W2) == "hello"
    with pytest.raises(RemoteFault, match="too many connections"):
        comes(W2)
    assert comes(W3) == "hello"


async def test_a_token_goes_to_whoever_has_the_certificate_of_its_addressee_introduced_or_not() -> None:
    """Its own introduction may be later than the token: the ways have no order among each other."""
    transport = guarded()
    links = {name: Stranger(name) for name in (W2, W3)}
    for link in links.values():
        transport.introduce(link)  # type: ignore[arg-type] - the part of a link that is used
    transport.relay(links[W3], W2, TOKEN)  # type: ignore[arg-type] - the same
    assert links[W2].tokens == [TOKEN]
    assert not links[W3].tokens
