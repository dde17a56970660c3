"""The replicated machine and the witness around it: equal states, whole images, fresh news only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant, SimFocus

from proto.units import NS_PER_MS, InstantNs, WallMs
from witness.core import machine as machine_module
from witness.core import timers
from witness.core.machine import Machine
from witness.core.node import WitnessNode
from witness.core.sight import Sights

APART = frozenset({"divergence", "ledger", "crash"})


def apply_reads_a_clock(patch: pytest.MonkeyPatch) -> None:
    """Events are dated by the replica that applies them."""
    now_ns = [InstantNs(0)]
    apply, decode = WitnessNode.apply, machine_module.decode_entry

    def node_apply(self, index, data, age, now):
        now_ns[0] = now
        apply(self, index, data, age, now)

    def decode_entry(data, feature_max):
        return replace(decode(data, feature_max), wall_ms=WallMs(now_ns[0] // NS_PER_MS))

    patch.setattr(WitnessNode, "apply", node_apply)
    patch.setattr(machine_module, "decode_entry", decode_entry)


def _image_without(patch: pytest.MonkeyPatch, forget) -> None:
    right = Machine.restore

    def restore(self, image, *rest):
        right(self, image, *rest)
        forget(self.state)

    patch.setattr(Machine, "restore", restore)


def image_without_votes(patch: pytest.MonkeyPatch) -> None:
    def forget(state):
        for group in state.groups.values():
            if group.lease is not None:
                group.lease.renewal = 0

    _image_without(patch, forget)


def image_without_agents(patch: pytest.MonkeyPatch) -> None:
    _image_without(patch, lambda state: state.agents.clear())


def image_without_quarantine(patch: pytest.MonkeyPatch) -> None:
    def forget(state):
        for group in state.groups.values():
            for record in group.sites.values():
                record.quarantine.clear()

    _image_without(patch, forget)


def an_unreadable_entry_is_skipped_unnumbered(patch: pytest.MonkeyPatch) -> None:
    """A restart counts the ledger's events anew."""

    def forget(state):
        state.ledger.head_seq = max(0, state.ledger.head_seq - 1)

    _image_without(patch, forget)


def a_vote_is_cast_once(patch: pytest.MonkeyPatch) -> None:
    """A vote that was lost with a leader is not cast again."""
    patch.setattr(timers, "VOTE_AGAIN_NS", 1 << 60)


def followers_do_not_vote(patch: pytest.MonkeyPatch) -> None:
    right = timers.LeaseTimers.due_votes
    tick = WitnessNode.tick
    leads = [False]

    def node_tick(self, now, wall_ms):
        leads[0] = self.consensus.leading
        tick(self, now, wall_ms)

    patch.setattr(WitnessNode, "tick", node_tick)

    def due_votes(self):
        votes = right(self)
        return votes if leads[0] else ()

    patch.setattr(timers.LeaseTimers, "due_votes", due_votes)


def unknown_age_is_fresh(patch: pytest.MonkeyPatch) -> None:
    right = WitnessNode.apply
    patch.setattr(WitnessNode, "apply", lambda self, index, data, age, now: right(self, index, data, age or 0, now))


def what_was_seen_outlives_an_image(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sights, "forget_all", lambda self: None)


def decides_without_having_caught_up(patch: pytest.MonkeyPatch) -> None:
    right = WitnessNode.consensus_changed

    def consensus_changed(self, *, leading, leader, has_quorum, caught_up, now, features=()):
        del caught_up
        right(self, leading=leading, leader=leader, has_quorum=has_quorum, caught_up=True, now=now, features=features)

    patch.setattr(WitnessNode, "consensus_changed", consensus_changed)


def another_clusters_log_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WitnessNode, "_check_founding", lambda self: None)


IMAGES = ("witness-snapshot", "witness-kill", "lossy", "cut-site")
COMPARED = "the machine compares again what a leader decided: a wrong decision is refused, and costs time only"
MUTANTS = (
    Mutant(
        "apply-reads-a-clock",
        "what is applied depends on nothing but the entry",
        "machine; D-15",
        apply_reads_a_clock,
        SimFocus((), APART, 5),
    ),
    Mutant(
        "image-without-renewals",
        "an image holds the whole state",
        "machine; D-24",
        image_without_votes,
        SimFocus(IMAGES, APART, 20),
    ),
    Mutant(
        "image-without-agents",
        "an image holds the whole state",
        "machine; D-24",
        image_without_agents,
        SimFocus(IMAGES, APART, 20),
    ),
    Mutant(
        "image-without-quarantine",
        "an image holds the whole state",
        "machine; D-24",
        image_without_quarantine,
        SimFocus(("witness-snapshot", "witness-kill", "quarantine", "site-freeze"), APART, 30),
    ),
    Mutant(
        "ledger-counts-anew",
        "the ledger goes on where the image ends",
        "ledger",
        an_unreadable_entry_is_skipped_unnumbered,
        SimFocus(IMAGES, APART, 20),
    ),
    Mutant(
        "vote-cast-once",
        "a vote that had no effect is cast again",
        "lease: liveness",
        a_vote_is_cast_once,
        tests=("unit/test_timers.py::test_a_vote_without_effect_is_cast_again",),
        why="two witnesses of three must lose a vote for one lease, and neither may start again before the end",
    ),
    Mutant(
        "followers-do-not-vote",
        "every witness votes with its own timers",
        "lease: votes",
        followers_do_not_vote,
        SimFocus((), frozenset({"stuck"}), 5),
    ),
    Mutant(
        "unknown-age-is-fresh",
        "what is applied while catching up makes nobody fresh",
        "decision: freshness",
        unknown_age_is_fresh,
        tests=("unit/test_node.py::test_what_was_replayed_makes_nobody_fresh",),
        why="a grant to a site that is gone runs out unclaimed",
    ),
    Mutant(
        "sight-outlives-image",
        "after an image nobody counts as heard",
        "decision: freshness",
        what_was_seen_outlives_an_image,
        tests=("unit/test_node.py::test_after_an_image_nobody_counts_as_heard",),
        why="a grant to a site that is gone runs out unclaimed",
    ),
    Mutant(
        "decides-not-caught-up",
        "only a leader that has caught up decides",
        "decision",
        decides_without_having_caught_up,
        tests=("unit/test_node.py::test_only_a_caught_up_leader_with_quorum_decides",),
        why=COMPARED,
    ),
    Mutant(
        "another-clusters-log",
        "a log of another cluster ends the process",
        "machine: founding",
        another_clusters_log_is_taken,
        tests=("unit/test_node.py::test_a_log_of_another_cluster_ends_the_process",),
        why="every schedule has one cluster",
    ),
)
