"""The agent's state as people and programs read it."""

from __future__ import annotations

from agents.core.agent import SiteAgent
from agents.core.group import UNKNOWN_GROUP, GroupAgent
from proto.clock import ClockReading
from proto.health import SiteState
from proto.messages import LAG_UNKNOWN_MS
from proto.units import NS_PER_MS


def agent_view(agent: SiteAgent, now: ClockReading) -> dict[str, object]:
    return {
        "site": agent.settings.site,
        "cluster": agent.settings.cluster,
        "version": agent.settings.agent_version,
        "incarnation": agent.incarnation.hex(),
        "heartbeat_interval_ms": agent.interval_ns() // NS_PER_MS,
        "streams": [
            {
                "witness": witness,
                "connected": witness in agent.streams.open,
                "leading": witness in agent.streams.open and agent.streams.open[witness].leading,
                "suspect": witness in agent.streams.open and agent.streams.open[witness].suspect,
                "rtt_us": agent.streams.open[witness].rtt_ns // 1000 if witness in agent.streams.open else None,
            }
            for witness in agent.settings.witnesses
        ],
        "groups": [group_view(group, now) for group in agent.groups.values()],
    }


def group_view(group: GroupAgent, now: ClockReading) -> dict[str, object]:
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
        "finished_epoch": group.holder.finished,
        "ready": group.health.ready,
        "healthy": group.health.healthy,
        "lag_ms": None if group.health.lag_ms == LAG_UNKNOWN_MS else group.health.lag_ms,
        "containment": group.containment,
        "trouble": group.trouble,
        "blockers": [
            *((UNKNOWN_GROUP,) if group.unknown else ()),
            *group.host_blockers(),
            *group.health.blockers_while(active=group.state is SiteState.ACTIVE),
        ],
    }
