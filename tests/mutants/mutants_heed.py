"""A witness that is told that its disk forgot something heeds it (witness/raft/heed.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant

from witness.raft import admission, heed, introduction, peer_link, syncobj, vouching
from witness.raft.gate import Gate
from witness.raft.syncobj import PySyncObjConsensus
from witness.sim.raft import raft_links
from witness.sim.raft.raft_links import RaftLinks


def told_and_goes_on(patch: pytest.MonkeyPatch) -> None:
    """It shows the words, and votes where the one who said them is not reached."""
    for whose in (PySyncObjConsensus, RaftLinks):
        patch.setattr(whose, "told_forgot", lambda self, who, words: None)


def heeded_in_memory_alone(patch: pytest.MonkeyPatch) -> None:
    """A supervisor starts it again, and the one who knows may be out of reach by then."""
    for module in (syncobj, raft_links):
        patch.setattr(module, "heed", lambda store, peer, words: heed._refused(f"{peer} says: {words}"))


def heeds_whoever_connects(patch: pytest.MonkeyPatch) -> None:
    """Also one whose introduction was not read, or not accepted."""
    right = peer_link.PeerLink._read_frame

    def read_frame(self, kind, body):
        if kind == peer_link.REFUSED and introduction.read_reason(body)[1]:
            self._owner.told_forgot(self, introduction.read_reason(body)[0])
            return
        right(self, kind, body)

    patch.setattr(peer_link.PeerLink, "_read_frame", read_frame)


def an_objection_loses_its_code(patch: pytest.MonkeyPatch) -> None:
    right = Gate.answered
    patch.setattr(Gate, "answered", lambda self, by, answer: right(self, by, replace(answer, forgot=False)))


def crossed_connections_are_told(patch: pytest.MonkeyPatch) -> None:
    """The same process, whose older word came later, is shut out until an operator comes."""
    right = admission._same_disk

    def same_disk(mark, speaker):
        verdict = right(mark, speaker)
        behind = isinstance(verdict, admission.Refused) and admission.fell(mark.position, speaker.position)
        return replace(verdict, forgot=True) if behind else verdict

    patch.setattr(admission, "_same_disk", same_disk)


def what_is_open_is_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vouching, "_open", lambda mark, speaker, verdict: verdict)


_HEED = "unit/test_raft_heed.py::test_"
CLEAN = "it ends a process that might go on, and operators of the simulations readmit whoever is refused"
MUTANTS = (
    Mutant(
        "told-and-goes-on",
        "a witness that is told that its disk forgot something ends",
        "ADR 11",
        told_and_goes_on,
        tests=(
            f"{_HEED}the_process_ends_as_soon_as_it_is_told",
            "sim/test_sim_seeds.py::test_a_seed_that_once_failed[sim-161409]",
        ),
        why="the old disk must win an election between the word of the one who knows and its readmission",
    ),
    Mutant(
        "heeded-in-memory-alone",
        "what was heeded is on the disk before the process ends",
        "ADR 11",
        heeded_in_memory_alone,
        tests=(f"{_HEED}the_process_ends_as_soon_as_it_is_told",),
        why="the next start is told again wherever the one who knows is reached, and is so in most schedules",
    ),
    Mutant(
        "heeds-whoever-connects",
        "only a peer whose introduction was right is heeded",
        "ADR 11",
        heeds_whoever_connects,
        tests=(f"{_HEED}who_was_not_introduced_is_not_heard",),
        why="every machine of the simulations is who it says",
    ),
    Mutant(
        "objection-loses-its-code",
        "who is refused by another one's knowledge heeds it as well",
        "ADR 11",
        an_objection_loses_its_code,
        tests=(f"{_HEED}the_one_who_knows_may_be_the_one_who_is_asked",),
        why="the one who is asked mostly tells the newcomer itself a moment later",
    ),
    Mutant(
        "crossed-connections-are-told",
        "one process is not told that its disk forgot what it said itself",
        "ADR 11",
        crossed_connections_are_told,
        tests=(f"{_HEED}the_same_process_is_not_told_so_since_its_connections_may_have_crossed",),
        why=CLEAN,
    ),
    Mutant(
        "what-is-open-is-told",
        "what a vouch leaves open is not to be heeded",
        "ADR 11",
        what_is_open_is_told,
        tests=(f"{_HEED}what_a_vouch_leaves_open_is_not_to_be_heeded",),
        why=CLEAN,
    ),
)
