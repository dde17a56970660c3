"""`site-agent check`: what `site-agent run` would refuse, found before a restart depends on it; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agents.config import load_agent_config
from agents.config_member import load_member_config
from agents.runtime.identity import require_own, require_own_member
from agents.settings import SiteSettings
from proto.clock import SystemClock
from proto.units import NS_PER_S


def check_agent(config: Path) -> Iterator[str]:
    """Yields what is right; raises ThirdsiteError for the first thing that is not."""
    settings = load_agent_config(config)
    groups = ", ".join(f"{one.group}{'' if one.enforce else ' (watched only)'}" for one in settings.groups)
    yield f"configuration   {config}: site {settings.site}, groups {groups}"
    own = require_own(settings)
    days = own.days_left(SystemClock().read().wall_ns / NS_PER_S)
    yield f"certificate     {settings.tls.cert}: {own.identity}, {days:.0f} days left"
    yield f"site link       {site_link_words(settings)}"
    for group in settings.groups:
        if group.enforce and not group.checks:
            yield f"note            group {group.group} has no verify_down: only its guards prove it down"
        if group.enforce and not any(probe.role.value == "service" for probe in group.probes):
            yield f"note            group {group.group} has no service probe: it never reports itself unfit"


def site_link_words(settings: SiteSettings) -> str:
    link = settings.site_link
    if link is None:
        return "none (no relay, no holds): without the witnesses an active site is fenced at the end of its lease"
    return f"{link.listen}, to " + ", ".join(f"{peer.site} at {peer.address}" for peer in link.peers)


def check_member(config: Path) -> Iterator[str]:
    """The same for a member's file."""
    settings = load_member_config(config)
    groups = ", ".join(one.held.group for one in settings.groups)
    yield f"configuration   {config}: member {settings.member} of site {settings.site}, groups {groups}"
    own = require_own_member(settings)
    days = own.days_left(SystemClock().read().wall_ns / NS_PER_S)
    yield f"certificate     {settings.tls.cert}: {own.identity}, {days:.0f} days left"
    yield f"lead            {settings.lead}"
