"""What a node measures of itself: its commits, and how late renewals come; and who votes again at once."""

from __future__ import annotations

from core_rig import AUTHOR, A, G, W, entry, frame, token
from node_rig import NodeRig

from proto import limits
from proto.commands import Cause, Grant, Votes
from proto.decisions import Reason
from proto.lease import witness_wait
from proto.timing import renew_interval_ms
from proto.units import NS_PER_MS, Epoch, Incarnation
from witness.core.measures import SITES_MAX, Measures
from witness.timing.measurements import Measurements


class HeldRig(NodeRig):
    """The site A holds the lease and renews it when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._seq = 1
        self.vacant().heard(A)
        self.foreign(
            Grant(G, Epoch(1), Epoch(2), A, Incarnation(token("i1")), Cause.FIRST, Reason.FIRST_ACTIVATION, AUTHOR)
        )
        self.renew()

    def renew(self) -> None:
        self._seq += 1
        self.foreign(frame(A, entry(epoch=2, claim=token("claim")), seq=self._seq))
        self.proposed.clear()


def votes_of(rig: NodeRig) -> list[Votes]:
    return [command for command in rig.commands() if isinstance(command, Votes)]


def test_a_commit_is_measured_from_the_proposal_to_the_own_apply():
    rig = NodeRig().vacant()
    before = rig.node.measures.commits.total
    rig.heard(A)
    data = rig.proposed.pop(0) if rig.proposed else None
    while data is not None:
        rig.now += 7 * NS_PER_MS
        rig.commit(data)
        data = rig.proposed.pop(0) if rig.proposed else None
    assert rig.node.measures.commits.total > before
    assert rig.node.measures.commits.longest_ns >= 7 * NS_PER_MS


def test_a_renewal_is_late_by_what_its_gap_exceeds_the_interval():
    rig = HeldRig()
    constants = rig.group.lease.constants
    interval_ns = renew_interval_ms(constants.ttl_ms) * NS_PER_MS
    rig.renew()
    for late_ms in (0, 40):
        rig.passes(interval_ns + late_ms * NS_PER_MS)
        rig.renew()
    late = rig.node.measures.sites[A].late
    assert late.total >= 2
    assert 40 * NS_PER_MS <= late.longest_ns < 41 * NS_PER_MS
    measured = Measurements()
    measured.take("w1", {**rig.node.measures.to_json(), "peers": late.to_json(), "election_max_ns": 1})
    assert measured.late[A] == late


def test_sites_beyond_the_bound_are_served_and_not_measured():
    measures = Measures()
    for number in range(SITES_MAX + 3):
        measures.site(f"site-{number}")
    assert len(measures.sites) == SITES_MAX


def test_a_vote_that_a_leader_took_with_it_is_cast_again_when_there_is_another_one():
    rig = HeldRig()
    wait = witness_wait(rig.group.lease.constants)
    rig.place(leading=False, leader=W[1])
    rig.proposed.clear()
    rig.passes(wait + limits.TIMER_WAKE_NS)
    assert len(votes_of(rig)) == 1
    rig.place(leading=False, leader=None)
    assert len(votes_of(rig)) == 1
    rig.place(leading=False, leader=W[2])
    rig.passes(1)
    assert len(votes_of(rig)) == 2
