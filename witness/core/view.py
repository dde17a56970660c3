"""The state as people and programs read it: plain data for status, never authority."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from proto.clock_rate import RateBounds
from proto.decisions import Decision, blocker_words, decision_words
from proto.holds import HoldMark
from proto.messages import LAG_UNKNOWN_MS
from proto.takeover import Delays, takeover_max_ns
from proto.units import NS_PER_MS, InstantNs, SiteId, WitnessId
from witness.core import clock_rules, permits
from witness.core.license_view import licenses_view
from witness.core.machine import Machine
from witness.core.notify.standby import against_takeover, missing_words
from witness.core.sight import GroupSight
from witness.core.state import GroupState, SiteRecord


def cluster_view(
    self_id: WitnessId, machine: Machine, place: Mapping[str, object], groups: list[dict[str, object] | None]
) -> dict[str, object]:
    state = machine.state
    return {
        "witness": self_id,
        "cluster": state.cluster,
        "witnesses": list(state.witnesses),
        **place,
        "applied_index": state.applied_index,
        "events": machine.ledger.head_seq,
        "groups": groups,
    }


def group_view(
    group: GroupState,
    sight: GroupSight,
    decision: Decision,
    left_ns: int | None,
    now: InstantNs,
    delays: Delays,
    rates: Callable[[SiteId], RateBounds | None],
) -> dict[str, object]:
    """`left_ns`: until this witness votes the lease away, when nothing renews it. `rates`: as it measured them."""
    lease, config = group.lease, group.config
    barred = lease is not None and lease.site is None
    constants = config.constants if lease is None or barred else lease.constants
    revocation = None if lease is None else lease.revocation
    return {
        "group": config.group,
        "mode": group.mode.value,
        "version": group.version,
        "epoch": group.epoch,
        "phase": group.phase.value,
        "lease_left_ms": None if lease is None or barred or left_ns is None else left_ns // NS_PER_MS,
        "bar_left_ms": left_ns // NS_PER_MS if barred and left_ns is not None else None,
        "holder": None if lease is None else lease.site,
        "renewal": None if lease is None else lease.renewal,
        "expiry_votes": [] if lease is None else sorted(lease.votes),
        "successor": None if revocation is None else revocation.successor,
        "handover_reason": None if revocation is None else revocation.reason.value,
        "constants": dataclasses.asdict(constants),
        "takeover_max_ms": takeover_max_ns(constants, 0, delays) // NS_PER_MS,
        "witness_loss": config.witness_loss.value,
        "last_holder_may_hold": None if group.former is None else group.former.site,
        "sites": [
            {
                **_site_view(group, site, group.sites[site], sight, now),
                "clock": _clock_view(group, site, rates(site)),
            }
            for site in config.sites
        ],
        "permits": _permits_view(group),
        "licenses": licenses_view(group),
        "decision": _decision_view(decision),
        "standby": _standby_view(group, sight, now),
        "would_have": {
            "count": group.shadow.count,
            "active": group.shadow.active,
            "needed": group.shadow.needed,
            "to": group.shadow.to,
        },
    }


def _standby_view(group: GroupState, sight: GroupSight, now: InstantNs) -> dict[str, object]:
    """`missing`: no site could take over now, and `against`: why; `told`: it lasted, and people were told."""
    against = against_takeover(group, sight, now)
    return {
        "missing": missing_words(group, sight, now) if against else "",
        "against": [blocker_words(one) for one in against],
        "told": group.no_standby,
        "silent": sorted(site for site, record in group.sites.items() if record.silent),
    }


def _permits_view(group: GroupState) -> dict[str, object]:
    held, terms = group.permits, group.config.permits
    return {
        "enabled": terms.enabled,
        "after_ms": held.after_ms or None,
        "away": permits.away_sites(group, held.seen_ms),
        "under_permit": permits.under_permit(group),
        "disputed": [site for site in group.config.sites if permits.disputed(group, site)],
        "session_ms": None if held.session is None else held.session.constants.lock_delay_ms,
    }


def _site_view(
    group: GroupState, site: SiteId, record: SiteRecord, sight: GroupSight, now: InstantNs
) -> dict[str, object]:
    report, age_ns = record.report, sight.heard_age_ns(site, now)
    return {
        "site": site,
        "preferred": site == group.config.sites[0],
        "heard_ms_ago": None if age_ns is None else age_ns // NS_PER_MS,
        "state": None if report is None else report.state.value,
        "enforce": None if report is None else report.enforce,
        "ready": None if report is None else report.ready,
        "healthy": None if report is None else report.healthy,
        "data_checks": None if report is None else report.data_checks.value,
        "lag_ms": None if record.lag_ms == LAG_UNKNOWN_MS else record.lag_ms,
        "containment": None if report is None else report.containment,
        "agent_version": None if report is None else report.agent_version,
        "epoch_bound": None if report is None else report.epoch_bound,
        "finished_epoch": None if report is None else report.finished_epoch,
        "permit": None if report is None or report.permit is None else report.permit.permit.hex(),
        "promising": None if report is None else report.promising,
        "promised": None if report is None else _mark_view(report.promised),
        "holding": None if report is None else _mark_view(report.holding),
        "maintenance": record.maintenance,
        "quarantine": [
            {"cause": cause.value, "epoch": note.epoch, "text": note.text}
            for cause, note in sorted(record.quarantine.items(), key=lambda pair: pair[0].value)
        ],
        "blockers": [] if report is None else list(report.blockers),
    }


def _clock_view(group: GroupState, site: SiteId, measured: RateBounds | None) -> dict[str, object]:
    """`measured` by this witness alone; `unfit` as a majority found it."""
    note = group.sites[site].clock
    return {
        "rate_ppm": None if measured is None else list(measured),
        "drift_max_ppm": clock_rules.drift_of(group, site),
        "unfit": None if note is None else note.state.value,
        "unfit_words": None if note is None else clock_rules.note_words(note),
    }


def _mark_view(mark: HoldMark | None) -> dict[str, object] | None:
    """A round of holds, as a site reports it."""
    return None if mark is None else {"epoch": mark.epoch, "number": mark.number, "chain": mark.chain.hex()}


def _decision_view(decision: Decision) -> dict[str, object]:
    retry = decision.retry_in_ns
    return {
        "kind": decision.kind.value,
        "reason": decision.reason.value,
        "words": decision_words(decision),
        "site": decision.site,
        "would": None if decision.would is None else decision.would.value,
        "retry_in_ms": None if retry is None else retry // NS_PER_MS,
        "blockers": [
            {
                "site": blocker.site,
                "reason": blocker.reason.value,
                "seen": blocker.seen,
                "words": blocker_words(blocker),
            }
            for blocker in decision.blockers
        ],
    }
