"""A site that does not know that its group takes permits says nothing of answers, and would count as away for good."""

from __future__ import annotations

from dataclasses import replace

from core_rig import AUTHOR, A
from permit_rig import PermitRig

from proto.commands import ConfigureGroup


def told(rig: PermitRig) -> list[bool]:
    return [one.permits.enabled for one in rig.last.outcomes[0].sites]


def test_it_is_told_again_until_it_says_what_it_was_answered():
    """Without a site link an agent says the version of any answer; what tells of permits may be lost on its own.

    Simulation seed 221867: nothing was granted any more, until an operator vouched for a site that was heard all along.
    """
    rig = PermitRig()
    for _ in range(2):
        rig.says(A, answered=False)
        assert told(rig) == [True]
    rig.says(A)
    rig.says(A)
    assert told(rig) == []


def test_where_no_permits_are_taken_nobody_is_told_for_that():
    rig = PermitRig()
    assert rig.one(ConfigureGroup(replace(rig.group.config, break_glass_key=""), rig.group.version, AUTHOR)).ok
    rig.says(A, answered=False)
    assert told(rig) == []
