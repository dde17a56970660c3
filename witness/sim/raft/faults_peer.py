"""Forged and absurd frames from one peer whose process is otherwise sound.

Rule: Raft is not Byzantine, so what is forged here is bounded: terms that no cluster gets to, indexes beyond any log,
late and foreign votes, appends of older terms, frames that are no messages. Never a vote, an acknowledgement or an
append that a leader or voter of the current term could have sent: no filter could tell those from true ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgpack

from witness.raft.peer_link import RAFT, frame
from witness.sim.raft.raft_links import frames_of

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage as World

FAR = 1 << 40
TERM_MIN = 2
"""Before there is an older term, nothing of an older term can be forged."""
Forger = Callable[[int, int, random.Random], dict[str, Any]]


def _append(term: int, index: int) -> dict[str, Any]:
    entries = [[b"\x00forged", index + 1, term]]
    fields = {"term": term, "commit_index": FAR, "entries": entries, "prevLogIdx": index, "prevLogTerm": term}
    return {"type": "append_entries", **fields, "last": index + 1, "sent": 1, "echo": 0}


def _far_term(term: int, last: int, rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.5:
        return _append(term + FAR, last)
    return {"type": "request_vote", "term": term + FAR, "last_log_index": FAR, "last_log_term": FAR}


def _greedy_candidate(term: int, last: int, rng: random.Random) -> dict[str, Any]:  # noqa: ARG001  # one shape for all
    ahead = rng.choice((1, 2, 1 << 20))
    return {"type": "request_vote", "term": term + ahead, "last_log_index": FAR, "last_log_term": term + ahead}


def _ack_beyond(term: int, last: int, rng: random.Random) -> dict[str, Any]:
    ack = {"type": "next_node_idx", "term": term, "next_node_idx": last + rng.choice((1_000, FAR))}
    return {**ack, "reset": False, "success": True, "heard": 0, "stamp": 1 << 60}


def _reset(term: int, last: int, rng: random.Random) -> dict[str, Any]:
    ack = {"type": "next_node_idx", "term": term, "next_node_idx": rng.choice((0, 1, last, FAR))}
    return {**ack, "reset": True, "success": False, "heard": 1 << 60, "stamp": 0}


def _late_vote(term: int, last: int, rng: random.Random) -> dict[str, Any]:  # noqa: ARG001  # one shape for all
    return {"type": "response_vote", "term": term - rng.choice((1, 2))}


def _old_append(term: int, last: int, rng: random.Random) -> dict[str, Any]:
    return _append(term - rng.choice((1, 2)), rng.choice((1, last)))


def _nonsense(term: int, last: int, rng: random.Random) -> dict[str, Any]:
    return rng.choice(
        (
            {"type": "append_entries", "term": -term},
            {"type": "timeout_now", "term": term},
            {"type": "request_vote", "term": term, "last_log_index": -last, "last_log_term": True},
            {"type": "response_vote", "term": [[[[[]]]]]},
        )
    )


FORGERS: tuple[Forger, ...] = (_far_term, _greedy_candidate, _ack_beyond, _reset, _nonsense)
OLD_FORGERS: tuple[Forger, ...] = (_late_vote, _old_append)


def forged(world: World, rng: random.Random) -> None:
    """The liar is one for the whole schedule."""
    liar = world.setup.witnesses[world.setup.seed % len(world.setup.witnesses)]
    victims = [host for host in world.running() if host.name != liar and host.member is not None]
    if not victims:
        return
    victim = rng.choice(victims)
    socket = world.network.open_socket(liar, victim.name)
    if victim.member is None or socket is None:
        return
    view = victim.member.view()
    forgers = FORGERS if view.term < TERM_MIN else FORGERS + OLD_FORGERS
    for _ in range(rng.choice((1, 1, 3))):
        message = rng.choice(forgers)(view.term, view.last_index, rng)
        world.hit("forged")
        world.note(str(liar), f"forges for {victim.name}: {message}")
        world.network.write(socket, frame(RAFT, msgpack.packb(message)), frames_of)


BLOWS = {"forged": forged}
