"""Mode manual in the middle of a handover: whoever sets it is told that the rest is theirs, and how to do it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, G, entry, frame, report, token
from node_rig import NodeRig

from proto.commands import Cause, ReleaseLease, Revoke, SetMode
from proto.decisions import Reason
from proto.edge.config_types import Address
from proto.groups import Mode
from proto.health import SiteState
from proto.messages import ReleaseKind
from proto.units import Epoch, InstantNs
from witness.core.transitions import Phase
from witness.ctl import changing
from witness.ctl.client import Answer, ClusterClient
from witness.ctl.render import waits_for_operator

SAYS_WHAT = f"witnessctl switchover {G} --to {B} --reason ..."


def handed_over(reason: Reason) -> NodeRig:
    """dc-a holds the lease, stops for a handover, and says that it is down; then the mode is manual."""
    rig = NodeRig().vacant().heard(A, B)
    rig.commit_all()
    said = report(state=SiteState.ACTIVE, epoch_bound=Epoch(2))
    rig.foreign(frame(A, entry(epoch=2, claim=token("claim"), said=said), seq=50))
    rig.foreign(Revoke(G, Epoch(2), B, Cause.HANDOVER, reason, AUTHOR))
    rig.foreign(SetMode(G, Mode.MANUAL, AUTHOR))
    assert rig.group.phase is Phase.REVOKING
    return rig


def released(rig: NodeRig) -> NodeRig:
    lease = rig.group.lease
    assert lease is not None
    rig.foreign(frame(A, entry(epoch=2, claim=token("claim"), said=report(epoch_bound=Epoch(2))), seq=51))
    rig.foreign(ReleaseLease(G, A, lease.incarnation, Epoch(2), token("claim"), ReleaseKind.CLEAN, ""))
    rig.commit_all()
    return rig


def status(rig: NodeRig) -> dict:
    found = rig.node.group_status(G, InstantNs(rig.now))
    assert found is not None
    return found


def test_a_handover_of_the_clusters_own_waits_for_an_operator_and_status_says_so():
    rig = handed_over(Reason.HOLDER_UNFIT)
    assert waits_for_operator(status(rig)).startswith(f"the cluster began a handover to {B}")
    assert SAYS_WHAT in waits_for_operator(status(rig))
    released(rig)
    assert rig.group.phase is Phase.VACANT
    assert waits_for_operator(status(rig)) == f"nothing is active, and only you change that: {SAYS_WHAT}"


def test_what_it_tells_to_do_is_granted():
    rig = released(handed_over(Reason.HOLDER_UNFIT))
    planned = rig.node.plan_switchover(G, B, AUTHOR, InstantNs(rig.now))
    rig.foreign(planned)
    assert (rig.group.phase, rig.group.lease.site) == (Phase.GRANTED, B)
    assert waits_for_operator(status(rig)) == ""


def test_an_operators_handover_is_brought_to_its_end_and_nothing_is_said():
    rig = handed_over(Reason.OPERATOR_ASKED)
    assert waits_for_operator(status(rig)) == ""
    assert (released(rig).group.phase, rig.group.lease.site) == (Phase.GRANTED, B)
    assert waits_for_operator(status(rig)) == ""


def test_in_automatic_mode_nobody_is_told_anything():
    rig = handed_over(Reason.HOLDER_UNFIT)
    rig.foreign(SetMode(G, Mode.AUTOMATIC, AUTHOR))
    assert waits_for_operator(status(rig)) == ""


class OneWitness(ClusterClient):
    """Takes every change and shows one group."""

    def __init__(self, shown: Answer) -> None:
        self._shown = shown

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        if method == "GET":
            return self._shown
        return replace(self._shown, status=200, body={"changed": True, "words": "done"})


@pytest.mark.parametrize(
    ("reason", "found", "warned"),
    [(Reason.HOLDER_UNFIT, 200, True), (Reason.HOLDER_UNFIT, 503, False), (Reason.OPERATOR_ASKED, 200, False)],
)
def test_who_sets_the_mode_is_warned_beside_the_answer(capsys, reason, found, warned):
    """A group that cannot be looked at afterwards is no reason to fail: the mode is set."""
    shown = Answer(found, status(handed_over(reason)), Address("192.0.2.1", 1))
    changing.set_mode(OneWitness(shown), G, Mode.MANUAL, "release night", as_json=True)
    told = capsys.readouterr()
    assert '"changed": true' in told.out
    assert (SAYS_WHAT in told.err) is warned
    assert SAYS_WHAT not in told.out
