"""The agent's state as people and programs read it."""

from __future__ import annotations

from agents.core.agent import SiteAgent
from agents.core.group import UNKNOWN_GROUP
from agents.core.group_permit import PermittedGroup
from agents.core.streams import Route
from proto.clock import ClockReading
from proto.health import SiteState
from proto.messages import LAG_UNKNOWN_MS
from proto.permit import unanswered_wait
from proto.units import NS_PER_MS


def agent_view(agent: SiteAgent, now: ClockReading) -> dict[str, object]:
    return {
        "site": agent.settings.site,
        "cluster": agent.settings.cluster,
        "version": agent.settings.agent_version,
        "incarnation": agent.incarnation.hex(),
        "heartbeat_interval_ms": agent.interval_ns() // NS_PER_MS,
        "streams": [_stream(agent, Route(witness)) for witness in agent.settings.witnesses],
        "relay": {
            "carries": agent.carries(now),
            "wanted": sorted(agent.relays.wanted),
            "answered_via": agent.answered_via,
            "streams": [_stream(agent, route) for route in agent.streams.open if route.via is not None],
        },
        "groups": [group_view(group, now) for group in agent.groups.values()],
    }


def _stream(agent: SiteAgent, route: Route) -> dict[str, object]:
    stream = agent.streams.open.get(route)
    return {
        "witness": route.witness,
        "via": route.via,
        "connected": stream is not None,
        "leading": stream is not None and stream.leading,
        "suspect": stream is not None and stream.suspect,
        "rtt_us": None if stream is None else stream.rtt_ns // 1000,
    }


def group_view(group: PermittedGroup, now: ClockReading) -> dict[str, object]:
    authority = group.holder.authority
    alive = group.holder.alive(now)
    left_ns = 0 if authority is None or not alive else authority.deadline - now.boottime_ns
    active = group.state is SiteState.ACTIVE and alive
    return {
        "group": group.settings.group,
        "state": group.state.value,
        "active": active,
        "enforce": group.settings.enforce,
        "epoch": group.holder.epoch,
        "remaining_ms": left_ns // NS_PER_MS,
        "permit": _permit(group, now),
        "finished_epoch": group.holder.finished,
        "lock_delay": _lock_delay(group, now),
        "ready": group.health.ready,
        "healthy": group.health.healthy,
        "lag_ms": None if group.health.lag_ms == LAG_UNKNOWN_MS else group.health.lag_ms,
        "holds": holds_view(group, now),
        "sites": [] if group.sites is None else list(group.sites.sites),
        "witness_loss": None if group.sites is None else group.sites.witness_loss.value,
        "containment": group.containment,
        "licenses": group.licenses.view(),
        "trouble": group.trouble,
        "blockers": [
            *((UNKNOWN_GROUP,) if group.unknown else ()),
            *group.host_blockers(),
            *group.health.blockers_while(active=group.state is SiteState.ACTIVE),
        ],
    }


def _lock_delay(group: PermittedGroup, now: ClockReading) -> dict[str, object] | None:
    """What waits for it, and how long still."""
    before, left_ns = group.lock_delay(now)
    return {"before": before, "left_ms": left_ns // NS_PER_MS} if before else None


def holds_view(group: PermittedGroup, now: ClockReading) -> dict[str, object]:
    """What is lived on, and what was promised: both with what is left of it."""
    promise, claims_at = group.given.promise, group.given.next_deadline(now)
    outstanding = promise is not None and promise.outstanding(now)
    return {
        "on": group.taken.on,
        "round": 0 if group.taken.mark is None else group.taken.mark.number,
        "said": dict(group.taken.said) if group.taken.on else {},
        "promised_to": promise.site if promise is not None and outstanding else None,
        "promised_epoch": promise.epoch if promise is not None and outstanding else 0,
        "cold": group.given.cold and not group.given.may_claim(now),
        "claims_in_ms": 0 if claims_at is None else max(0, claims_at - now.boottime_ns) // NS_PER_MS,
    }


def _permit(group: PermittedGroup, now: ClockReading) -> dict[str, object] | None:
    """Of break-glass; None where the group takes no permits."""
    known, constants = group.sites, group.permit_constants()
    if known is None or not known.permits.enabled or constants is None:
        return None
    used, wait_ns = group.under_permit, unanswered_wait(known.permits.after_ms, constants)
    return {
        "key": known.permits.key,
        "under": None if used is None else {"permit": used.permit.hex(), "epoch": used.epoch},
        "silent_ms": group.desk.silent_ns(now) // NS_PER_MS,
        "after_ms": wait_ns // NS_PER_MS,
        "others": [site for site in known.sites if site != group.site],
    }
