"""What people and Prometheus see of relays and of the link between the sites."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from agents.local.status_text import status_view
from agents.runtime.telemetry import Telemetry
from proto.clock import ManualClock

STREAM = {"witness": "w1", "leading": True, "suspect": False, "rtt_us": 1_500, "state": "open", "connected": True}
PEER = {
    "site": "dc-b",
    "address": "b:7430",
    "connected": True,
    "asks_here": True,
    "carried": ["w2"],
    "rtt_ms": 3.0,
    "opened": 1,
}


def view(**changes: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "site": "dc-a",
        "cluster": "c",
        "version": "1",
        "groups": [],
        "streams": [STREAM],
        "relay": {"answered_via": None, "streams": []},
        "site_link": None,
    }
    return {**shown, **changes}


def text(shown: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status_view(shown))
    return console.export_text()


def metrics(shown: dict[str, Any]) -> str:
    telemetry = Telemetry(ManualClock())
    telemetry.watch(lambda: shown)
    return telemetry.metrics()[0].decode()


def test_a_relay_is_shown_with_the_site_that_carries_it() -> None:
    relayed = {**STREAM, "via": "dc-b", "address": "w1:7410"}
    shown = text(view(relay={"answered_via": "dc-b", "streams": [relayed]}, site_link={"peers": [PEER]}))
    assert "w1 via dc-b" in shown
    assert "! no witness answers directly: the agent of dc-b carries the renewals" in shown
    assert "CARRIED HERE" in shown
    assert "w2" in shown


def test_a_peer_that_is_not_reached_is_told_with_the_reason() -> None:
    down = {**PEER, "connected": False, "problem": "no answer in time", "rtt_ms": None, "carried": []}
    assert "! site link to dc-b: no answer in time" in text(view(site_link={"peers": [down]}))


def test_a_host_without_other_sites_shows_nothing_of_them() -> None:
    assert "CARRIED HERE" not in text(view())
    without = {name: value for name, value in view().items() if name not in ("relay", "site_link")}
    assert "w1" in text(without), "a member's view has neither"


HOLDS = {
    "on": False,
    "round": 0,
    "said": {},
    "promised_to": None,
    "promised_epoch": 0,
    "cold": False,
    "claims_in_ms": 0,
}
GROUP = {
    "group": "shop",
    "state": "active",
    "active": True,
    "enforce": True,
    "epoch": 3,
    "remaining_ms": 4_200,
    "ready": True,
    "healthy": True,
    "lag_ms": None,
    "containment": "namespace",
    "trouble": "",
    "blockers": [],
}


def test_the_countdown_of_a_site_that_lives_on_holds() -> None:
    holds = {**HOLDS, "on": True, "said": {"dc-b": "held"}}
    shown = view(groups=[{**GROUP, "holds": holds}])
    assert "! shop: no witness answers; it goes on by holds (dc-b held) and ends in 4.2 s" in text(shown)
    assert 'thirdsite_agent_group_on_holds{group="shop"} 1.0' in metrics(shown)


def test_the_countdown_of_a_site_that_promised() -> None:
    holds = {**HOLDS, "promised_to": "dc-b", "promised_epoch": 3, "claims_in_ms": 2_500}
    shown = view(groups=[{**GROUP, "state": "standby", "active": False, "remaining_ms": 0, "holds": holds}])
    assert "shop: begins nothing for 2.5 s more: promised to the holder at dc-b, epoch 3" in text(shown)
    assert 'thirdsite_agent_group_promise_seconds{group="shop"} 2.5' in metrics(shown)
    cold = view(groups=[{**GROUP, "holds": {**HOLDS, "cold": True}}])
    assert "begins nothing until a witness was heard: what its former life promised is not known" in text(cold)


def test_prometheus_sees_who_carries_and_whether_the_link_is_open() -> None:
    told = metrics(view(relay={"answered_via": "dc-b", "streams": []}, site_link={"peers": [PEER]}))
    assert 'thirdsite_agent_answers_relayed{site="dc-b"} 1.0' in told
    assert 'thirdsite_agent_site_link_open{site="dc-b"} 1.0' in told
    assert 'thirdsite_agent_relays_carried{site="dc-b"} 1.0' in told
    assert "site_link_open{" not in metrics(view())
