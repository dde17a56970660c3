"""A decision as the command that the machine will judge once more: what the leader proposes on its own."""

from __future__ import annotations

from proto import limits
from proto.commands import Author, Cause, Command, Grant, QuarantineCause, Revoke, SetQuarantine
from proto.decisions import Decision, DecisionKind, Reason, blocker_words
from proto.units import Epoch, SiteId
from witness.core.decide import grant_cause, revoke_cause
from witness.core.lease_rules import epoch_floor
from witness.core.state import GroupState


def command_for(group: GroupState, decision: Decision) -> Command | None:
    name, site = group.config.group, decision.site
    if decision.kind is DecisionKind.NOTHING or site is None:
        return None
    passed_over = "; ".join(blocker_words(blocker) for blocker in decision.blockers)
    author = Author("witness", passed_over[: limits.TEXT_CHARS_MAX])
    if decision.kind is DecisionKind.CLEAR_QUARANTINE:
        backoff = decision.reason is Reason.BACKOFF_OVER
        cause = QuarantineCause.ACTIVATION_FAILED if backoff else QuarantineCause.UNCLEAN_END
        return SetQuarantine(name, site, False, (cause,), author)
    if decision.kind is DecisionKind.REVOKE:
        cause_of_move = revoke_cause(decision.reason)
        epoch = group.epoch if group.lease is None else group.lease.epoch
        return Revoke(name, epoch, site, cause_of_move, decision.reason, author)
    return grant_command(group, site, decision.reason, author)


def grant_command(group: GroupState, site: SiteId, reason: Reason, author: Author) -> Grant | None:
    incarnation = group.sites[site].incarnation
    if incarnation is None:
        return None
    return Grant(
        group=group.config.group,
        expected_epoch=group.epoch,
        epoch=Epoch(epoch_floor(group) + 1),
        site=site,
        incarnation=incarnation,
        cause=Cause.REGRANT if reason is Reason.HOLDS_UNBROKEN else grant_cause(group, site),
        reason=reason,
        author=author,
    )
