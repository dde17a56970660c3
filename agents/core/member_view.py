"""A member's state as people and programs read it: the same fields as an agent's (agents/core/view.py)."""

from __future__ import annotations

from typing import Any

from agents.core.member import SiteMember
from agents.core.member_group import MemberGroup
from proto.clock import ClockReading
from proto.member_messages import MemberPhase
from proto.units import NS_PER_MS


def member_view(member: SiteMember, now: ClockReading) -> dict[str, Any]:
    return {
        "site": member.settings.site,
        "member": member.settings.member,
        "ask_interval_ms": member.interval_ns() // NS_PER_MS,
        "groups": [member_group_view(group, now) for group in member.groups.values()],
    }


def member_group_view(group: MemberGroup, now: ClockReading) -> dict[str, Any]:
    held = group.held
    alive = held is not None and held.authority.alive(now)
    left_ns = held.authority.deadline - now.boottime_ns if held is not None and alive else 0
    return {
        "group": group.settings.group,
        "state": group.phase.value,
        "active": group.phase is MemberPhase.HOLDING and alive,
        "enforce": group.settings.enforce,
        "epoch": held.epoch if held is not None else 0,
        "remaining_ms": left_ns // NS_PER_MS,
        "finished_epoch": group.finished,
        "ready": group.phase is not MemberPhase.UNKNOWN and not group.lacks,
        "healthy": True,
        "lag_ms": None,
        "containment": group.containment,
        "trouble": group.trouble,
        "blockers": list(group.lacks),
    }
