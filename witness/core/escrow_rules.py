"""The escrow as the replicated machine keeps it: what may be put, by whom, and what an operator may give up.

Rules (docs/internals/license-escrow.md): one writer an epoch, which is whoever holds the claimed lease of it (E1); the
number is above the stored one's (E2); the same bytes again are done already, whoever holds the lease by now (E3).
Each function checks everything first and changes something only when all of it holds.
"""

from __future__ import annotations

from dataclasses import replace

from proto import limits
from proto.commands import PutEscrow, WaiveEscrow
from proto.decisions import Reason
from proto.errors import BadValue
from proto.events import EventKind
from proto.license import VERSION_SKIP_MAX, EscrowPolicy, check_sealed, version_words
from proto.messages import NoticeKind
from witness.core import licenses
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, refused
from witness.core.state import EscrowRecord, GroupState


def put(scope: Scope, command: PutEscrow) -> Outcome:
    """Answered with what is stored afterwards, done or refused: the sender then knows which version comes next."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    spec = licenses.spec_of(group.config, command.license)
    if spec is None:
        return refused(Reason.UNKNOWN_LICENSE)
    if spec.escrow is EscrowPolicy.NONE:
        return refused(Reason.ESCROW_OFF)
    outcome = _put(scope, group, command)
    version = licenses.stored(group, command.license)
    return replace(outcome, stored=version, version_next=licenses.next_number(group, command.license))


def _put(scope: Scope, group: GroupState, command: PutEscrow) -> Outcome:
    kept, sealed = group.escrow.kept.get(command.license), command.sealed
    if kept is not None and (kept.sealed, kept.site) == (sealed, command.site):
        return DONE
    try:
        check_sealed(sealed, f"{command.group}.{command.license}")
    except BadValue as error:
        return refused(Reason.MALFORMED, str(error)[: limits.TEXT_CHARS_MAX])
    problem = _not_the_writer(group, command)
    if problem is not None:
        return refused(problem)
    low, number = (of(group, command.license) for of in (licenses.number_min, licenses.next_number))
    if not low <= sealed.version.version <= number + VERSION_SKIP_MAX:
        have = version_words(licenses.stored(group, command.license))
        text = f"{version_words(sealed.version)} was put, stored is {have}: the next number is {number}"
        return refused(Reason.ESCROW_CONFLICT, text)
    group.escrow.kept[command.license] = EscrowRecord(sealed, command.site, scope.ledger.wall_ms)
    group.escrow.waived.pop(command.license, None)
    scope.ledger.append(
        EventKind.ESCROW_STORED,
        f"{command.license}: version {version_words(sealed.version)}, sealed with key {sealed.key_id}",
        group=command.group,
        site=command.site,
        epoch=sealed.version.epoch,
        author=f"agent {command.site}",
    )
    scope.changes.dirty.add(command.group)
    scope.tell_sites(group, NoticeKind.CHANGED)  # their next heartbeat brings it to them: none may wait for its turn
    return DONE


def _not_the_writer(group: GroupState, command: PutEscrow) -> Reason | None:
    """In every phase in which the lease is claimed: a key that changes while a handed-over site stops counts, too."""
    lease = group.lease
    if lease is None or lease.site != command.site or lease.epoch != command.sealed.version.epoch:
        return Reason.NOT_HOLDER
    if lease.incarnation != command.incarnation:
        return Reason.WRONG_INCARNATION
    if lease.claim is None:
        return Reason.NOT_CLAIMED
    return None if lease.claim == command.claim else Reason.WRONG_CLAIM


def waive(scope: Scope, command: WaiveEscrow) -> Outcome:
    """The release of last resort, compare-and-set on the newest version that is known (E8)."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    if licenses.spec_of(group.config, command.license) is None:
        return refused(Reason.UNKNOWN_LICENSE)
    if not command.author.reason.strip():
        return refused(Reason.REASON_REQUIRED)
    top = licenses.newest(group, command.license)
    if group.escrow.waived.get(command.license) == top:
        return refused(Reason.ALREADY_SO)
    sites = group.config.sites
    kept_back = [site for site in sites if command.license in dict(licenses.not_current(group, site))]
    if not kept_back:
        return refused(Reason.NOTHING_TO_WAIVE)
    if command.version != top:
        text = f"the newest version is {version_words(top)}, not {version_words(command.version)}"
        return refused(Reason.ESCROW_CONFLICT, text)
    group.escrow.waived[command.license] = top
    scope.ledger.append(
        EventKind.ESCROW_WAIVED,
        f"{command.license}: {version_words(top)} is given up for {', '.join(kept_back)} ({command.author.reason})",
        group=command.group,
        epoch=group.epoch,
        author=command.author.name,
    )
    scope.changes.dirty.add(command.group)
    return DONE
