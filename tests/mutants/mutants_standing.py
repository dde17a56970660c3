"""Findings of the Raft review about who speaks, who stands and when, and what drives the engine.

The number in a name is the finding's (docs/internals/raft-divergences.md).
"""

from __future__ import annotations

import random
import time

import pysyncobj.syncobj as library
import pytest
from mutant import FuzzFocus, Mutant
from mutants_disk import LOST
from raft_broken_rules import SPARSE

from witness.raft import engine_adapter, message_filter, messages
from witness.raft.engine_adapter import Engine
from witness.raft.message_filter import MessageFilter, Verdict
from witness.raft.messages import REGULAR
from witness.raft.node import RaftNode
from witness.raft.peer_transport import PeerTransport
from witness.raft.suffrage import Suffrage

NEVER = 1 << 62
ENDED = LOST | {"stuck", "work"}


def d21_names_are_believed(patch: pytest.MonkeyPatch) -> None:
    """Whoever has a certificate of the cluster is who he says."""
    right = PeerTransport.introduced

    def introduced(self, link, hello):
        tls, self._tls = self._tls, None
        try:
            right(self, link, hello)
        finally:
            self._tls = tls

    patch.setattr(PeerTransport, "introduced", introduced)


def d29_clock_of_the_machine(patch: pytest.MonkeyPatch) -> None:
    """The library reads the machine's clock and random source, not those of its engine."""
    right = engine_adapter._install

    def install():
        right()
        library.monotonicTime, library.random = time.monotonic, random

    patch.setattr(engine_adapter, "_install", install)


def d33_stands_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Suffrage, "_notice_loss", lambda self, engine: None)


def d45_stands_before_it_reads(patch: pytest.MonkeyPatch) -> None:
    """After a pause the timeout is judged first; and nobody is asked for leave."""

    def before_tick(self, engine, linked, now_ns):
        if engine.election_is_due and self._readmission is None:
            engine.stand()
            return []
        return right(self, engine, linked, now_ns)

    def turn(self, now_ns, unsent_bytes, early_send=None):
        mail, deliver = [], self._deliver

        def later():
            mail.append(True)

        self._deliver = later
        tick = self._engine.tick

        def tick_first(held):
            tick(held)
            deliver()

        self._engine.tick = tick_first
        try:
            return whole(self, now_ns, unsent_bytes, early_send)
        finally:
            del self._engine.tick
            del self._deliver

    right, whole = Suffrage.before_tick, RaftNode.turn
    patch.setattr(Suffrage, "before_tick", before_tick)
    patch.setattr(RaftNode, "turn", turn)


def d47_callbacks(patch: pytest.MonkeyPatch) -> None:
    """The library calls back when a command is done or given up, and what it calls raises."""

    def told(*_):
        raise RuntimeError("a callback that raises")

    patch.setattr(Engine, "command", lambda self, data: self._applyCommand(data, told, REGULAR))


def d50_any_term(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(message_filter, "TERM_JUMP_MAX", NEVER)


def d50_far_terms_are_dropped(patch: pytest.MonkeyPatch) -> None:
    """Two members that a liar drove apart never speak with each other again."""
    patch.setattr(MessageFilter, "_jump", lambda self, *_: self._drop("term_jump"))


def d55_ordered_to_stand(patch: pytest.MonkeyPatch) -> None:
    inbound, before_tick = MessageFilter.inbound, Suffrage.before_tick

    def ordered(self, sender, message, view, now_ns):
        if message["type"] == "timeout_now":
            self.__dict__["ordered"] = True
            return Verdict()
        return inbound(self, sender, message, view, now_ns)

    def obeyed(self, engine, linked, now_ns):
        if self._filter.__dict__.pop("ordered", False):
            engine.stand()
            return []
        return before_tick(self, engine, linked, now_ns)

    patch.setitem(messages._KEYS, "timeout_now", (frozenset({"type", "term"}),))
    patch.setitem(messages._CHECKS, "timeout_now", messages._check_vote)
    patch.setattr(MessageFilter, "inbound", ordered)
    patch.setattr(Suffrage, "before_tick", obeyed)


def _review(room: str, test: str) -> tuple[str, ...]:
    return (f"raft_review/test_review_{room}.py::test_{test}",)


MUTANTS = (
    Mutant(
        "d21-names-are-believed",
        "who a peer is stands in its certificate",
        "D-21",
        d21_names_are_believed,
        tests=("integration/test_raft_cluster.py::test_a_certificate_of_another_witness_is_refused",),
        why="simulated connections have no TLS: a machine is who it says",
    ),
    Mutant(
        "d29-clock-of-the-machine",
        "the engine's time and randomness are the node's",
        "D-29",
        d29_clock_of_the_machine,
        FuzzFocus((), ENDED, 5),
    ),
    Mutant(
        "d33-stands-at-once",
        "who ceases to lead waits a full timeout before it stands",
        "D-33",
        d33_stands_at_once,
        tests=_review("elections", "d33_who_just_ceased_to_lead_does_not_stand_at_once[ours]"),
        why="it asks for leave first, and gets none from who hears a leader: that costs messages alone",
    ),
    Mutant(
        "d45-stands-before-it-reads",
        "what waits is read before a timeout is judged, and leave to stand is asked",
        "D-45",
        d45_stands_before_it_reads,
        FuzzFocus(("pause-any",), frozenset({"unseated"}), 20, SPARSE),
    ),
    Mutant(
        "d47-callbacks",
        "the engine calls nobody back",
        "D-47",
        d47_callbacks,
        FuzzFocus((), ENDED, 5),
    ),
    Mutant(
        "d50-any-term",
        "a term that no elections explain is not taken",
        "D-50",
        d50_any_term,
        tests=_review("elections", "d50_a_forged_term_is_not_taken[ours]"),
        why="a term is a number: a cluster that was driven to a far one goes on, until none is left after 2^53",
    ),
    Mutant(
        "d50-far-terms-dropped",
        "a term far ahead is approached, so that no two members lose each other for good",
        "D-50",
        d50_far_terms_are_dropped,
        FuzzFocus(("forged",), frozenset({"stuck"}), 60),
    ),
    Mutant(
        "d55-ordered-to-stand",
        "nobody orders an election",
        "D-55",
        d55_ordered_to_stand,
        tests=_review("elections", "d55_an_order_to_stand_is_no_message[ours]"),
        why="beside forged frames nobody judges whether a leader was unseated, as other forged ones may do it too",
    ),
)
