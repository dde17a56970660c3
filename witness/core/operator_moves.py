"""What an operator's switchover means now: a revoke of a running site, a grant of a vacant group, or a refusal.

The same blockers count as for the cluster's own moves; an operator overrides cooldowns and modes, never safety. When
nothing is in the way but what ends by itself (PASSING), the reason says so: whoever asks may wait.
"""

from __future__ import annotations

from proto.commands import Author, Cause, Command, Grant, Revoke
from proto.decisions import PASSING, Reason, blocker_words
from proto.groups import Mode
from proto.units import Epoch, InstantNs, SiteId
from witness.core.decide import blockers_of, grant_cause
from witness.core.effects import Outcome
from witness.core.lease_rules import epoch_floor, refused
from witness.core.sight import GroupSight
from witness.core.state import GroupState
from witness.core.transitions import LeaseInput, Phase, refusal


def plan_switchover(
    group: GroupState, sight: GroupSight, to: SiteId, author: Author, now: InstantNs
) -> Command | Outcome:
    if not author.reason.strip():
        return refused(Reason.REASON_REQUIRED)
    if to not in group.sites:
        return refused(Reason.UNKNOWN_SITE, f"{group.config.group} has the sites {', '.join(group.config.sites)}")
    if group.mode in (Mode.PAUSED, Mode.OBSERVE):
        return refused(Reason.MODE_FORBIDS, f"the group's mode is {group.mode.value}; see `witnessctl mode`")
    lease = group.lease
    if lease is not None and lease.site == to:
        return refused(Reason.ALREADY_THERE)
    vacant = group.phase is Phase.VACANT
    problem = refusal(group.phase, LeaseInput.GRANT if vacant else LeaseInput.REVOKE)
    if problem is not None:
        in_bar = group.phase is Phase.BARRED
        return refused(Reason.BARRED_AFTER_CREATION if in_bar else problem)
    blockers = blockers_of(group, to, sight, now)
    if blockers:
        passes = all(blocker.reason in PASSING for blocker in blockers)
        reason = blockers[0].reason if passes else Reason.NO_CANDIDATE
        return refused(reason, "; ".join(blocker_words(blocker) for blocker in blockers)[:500])
    if not vacant and lease is not None:
        cause = Cause.FAILBACK if to == group.config.sites[0] else Cause.HANDOVER
        return Revoke(group.config.group, lease.epoch, to, cause, Reason.OPERATOR_ASKED, author)
    incarnation = group.sites[to].incarnation
    if incarnation is None:
        return refused(Reason.NOT_HEARD)
    return Grant(
        group=group.config.group,
        expected_epoch=group.epoch,
        epoch=Epoch(epoch_floor(group) + 1),
        site=to,
        incarnation=incarnation,
        cause=grant_cause(group, to),
        reason=Reason.OPERATOR_ASKED,
        author=author,
    )
