"""What `site-agent status` says of a group that nothing is active in, or that waits."""

from __future__ import annotations

import io
from typing import Any

from agent_rig import G
from rich.console import Console
from test_permit_lock_delay import LOCK_MS, LOCK_PASSES_MS, P, PermitAgent, under_permit, waiting

from agents.core.view import agent_view, group_view
from agents.local.status_text import status_view
from proto.health import SiteState


def seen(rig: PermitAgent) -> dict[str, Any]:
    return dict(group_view(rig.group, rig.clock.read()))


def text(rig: PermitAgent) -> str:
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(status_view(agent_view(rig.agent, rig.clock.read())))
    return console.export_text()


def test_an_activation_that_waits_for_the_lock_delay_says_so_and_for_how_long() -> None:
    rig = waiting()
    rig.passes(1_000)
    left_ms = LOCK_PASSES_MS - 1_000
    assert seen(rig)["lock_delay"] == {"before": "first-step", "left_ms": left_ms}
    assert f"{G}: waits for the lock delay, {left_ms / 1_000:.1f} s more, before the first step" in text(rig)
    rig.passes(LOCK_PASSES_MS)
    assert seen(rig)["lock_delay"] is None
    assert "lock delay" not in text(rig)


def test_it_says_the_longer_of_what_is_left_on_two_clocks() -> None:
    rig = waiting()
    rig.clock.boottime_ns += 1_000_000_000
    assert seen(rig)["lock_delay"]["left_ms"] == LOCK_PASSES_MS


def test_what_ended_out_of_order_under_a_permit_says_when_it_counts_as_down() -> None:
    rig = under_permit()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    assert seen(rig)["lock_delay"] is None, "it is not proven down yet"
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.passes(500)
    assert seen(rig)["lock_delay"] == {"before": "counts-as-down", "left_ms": LOCK_PASSES_MS - 500}
    assert "before what ended here counts as down" in text(rig)
    rig.passes(LOCK_PASSES_MS)
    rig.store()
    assert (rig.state, seen(rig)["lock_delay"]) == (SiteState.FENCED, None)


def test_a_fence_under_a_lease_says_when_it_is_released() -> None:
    rig = under_permit()
    delayed = rig.group.end
    delayed.offer(P, rig.group.holder.claim, rig.clock.read(), LOCK_MS * 1_000_000, rig.group.holder.constants.ttl_ns)
    assert seen(rig)["lock_delay"] == {"before": "release", "left_ms": LOCK_MS}
    assert "before the release of what was fenced here" in text(rig)
    rig.passes(LOCK_MS)
    assert seen(rig)["lock_delay"] is None


def test_a_site_that_was_fenced_and_waits_is_shown_as_dormant() -> None:
    rig = under_permit()
    assert "fenced" not in text(rig)
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.passes(LOCK_PASSES_MS + 100)
    rig.store()
    assert rig.state is SiteState.FENCED
    assert "fenced (dormant)" in text(rig)


def test_where_nothing_is_active_the_newest_epoch_that_ended_here_is_shown() -> None:
    rig = under_permit()
    assert "finished epoch" not in text(rig), "its own epoch is in the table"
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.passes(LOCK_PASSES_MS + 100)
    rig.store()
    assert f"{G}: newest finished epoch {P}" in text(rig)
    assert seen(rig)["finished_epoch"] == P
    assert "finished epoch" not in text(PermitAgent()), "none has ended here"
