"""The status after all witnesses were started anew: nobody was heard yet, and nothing may read as if somebody was."""

from __future__ import annotations

import re
from typing import Any

from permit_rig import AFTER_MS, A, B, PermitRig

from proto.decisions import Decision, Reason, blocker_words
from proto.health import SiteState
from proto.takeover import ASSUMED
from proto.units import NS_PER_MS, NS_PER_S, InstantNs
from witness.core.decide import blockers_of, decide
from witness.core.notify.standby import missing_words
from witness.core.sight import GroupSight
from witness.core.transitions import Phase
from witness.core.view import group_view
from witness.ctl import render

LEFT_MS = 4_200


def restarted(*heard: str) -> tuple[PermitRig, GroupSight]:
    """A held the lease and is gone; the witnesses were away; B goes on under a permit."""
    rig = PermitRig().known()
    assert rig.one(rig.grant_command(A)).ok
    rig.says(A, epoch=rig.group.epoch, state=SiteState.ACTIVE)
    assert rig.group.phase is Phase.HELD
    rig.lost()
    rig.under_permit(B)
    sight = GroupSight(started=InstantNs(NS_PER_S))
    sight.heard.update(dict.fromkeys(heard, InstantNs(NS_PER_S)))
    return rig, sight


def shown(rig: PermitRig, sight: GroupSight, **changes: Any) -> str:
    now = InstantNs(NS_PER_S)
    decision = decide(rig.group, sight, now)
    seen = group_view(rig.group, sight, decision, LEFT_MS * NS_PER_MS, now, ASSUMED, lambda _: None)
    console = render.Console(width=300)
    with console.capture() as capture:
        console.print(render.group_detail({**seen, **changes}))
        console.print(render.groups_table([{**seen, **changes}]))
    return re.sub(r" +", " ", capture.get())


def test_of_a_holder_that_was_not_heard_since_nothing_is_said_but_what_is_waited_for() -> None:
    text = shown(*restarted(B))
    assert "the holder renews" not in text
    assert f"no move: {A} was not heard since this witness started; its lease ends in 4.2 s unless it renews" in text
    assert f"if {A} failed now" not in text
    assert f"{A} is not heard, and nobody could take over yet" in text
    assert "never" not in text
    assert "not since it started" in text
    assert f"takeover none now: {B} is active under a break-glass permit" in text


def test_of_an_older_witness_no_time_is_known() -> None:
    rig, sight = restarted(B)
    text = shown(rig, sight, lease_left_ms=None)
    assert f"{A} was not heard since this witness started; its lease ends unless it renews" in text


def test_a_holder_that_is_heard_renews() -> None:
    rig, sight = restarted(A, B)
    text = shown(rig, sight)
    assert "no move: the holder renews" in text
    assert missing_words(rig.group, sight, InstantNs(NS_PER_S)) == f"if {A} failed now, nobody could take over"


def test_a_site_that_spoke_before_the_restart_did_not_never_speak() -> None:
    rig, sight = restarted(B)
    away = next(one for one in blockers_of(rig.group, A, sight, InstantNs(NS_PER_S)) if one.reason is Reason.NOT_HEARD)
    assert blocker_words(away).endswith("(not since this witness started)")
    rig.group.sites[A].report = None
    (away,) = blockers_of(rig.group, A, sight, InstantNs(NS_PER_S))
    assert blocker_words(away).endswith("(never)")


def test_a_site_that_never_spoke_was_never_heard() -> None:
    rig = PermitRig()
    assert "never" in shown(rig, GroupSight(started=InstantNs(NS_PER_S)))


def test_a_time_that_a_site_is_away_for_says_of_what_it_is() -> None:
    rig = PermitRig().known()
    rig.passes(AFTER_MS)
    rig.known(B)
    sight = GroupSight(started=InstantNs(NS_PER_S), heard={B: InstantNs(NS_PER_S)})
    decision: Decision = decide(rig.group, sight, InstantNs(NS_PER_S))
    (away,) = {blocker for blocker in decision.blockers if blocker.reason is Reason.RECONCILING and blocker.site == A}
    assert blocker_words(away).endswith(f"(silent for {AFTER_MS // 1_000} s at least)")
    assert f"takeover none now: {A} may be active under a break-glass permit" in shown(rig, sight)
