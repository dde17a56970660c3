"""Files, ports and configurations of one rig: those of the demo, with a platform that the referee can see."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from witness.demo.layout import KEY, SITES, Layout, Ports, SitePlace

PROGRAM = Path(__file__).with_name("fenced_platform.py")
VIP, VIP_DEVICE, VIP_TTL_MS_MIN = "192.0.2.10", "site0", 4_000
LONG_TTL_MS_MIN = 15_000
RESET_BEFORE_MS = 100
KILL_BUDGET_MS_MIN = 300


@dataclass(frozen=True, slots=True)
class Variant:
    """What the sites of one rig are configured with beside the defaults."""

    name: str
    reset: bool = False
    """A reset rung whose trigger is a plain file, and budgets that leave room for it."""
    network: bool = False
    """The first site has an address and a port that the kernel times."""
    ttl_ms_min: int = 0


PLAIN = Variant("plain")
RESET = Variant("reset", reset=True)
NETWORK = Variant("network", network=True, ttl_ms_min=VIP_TTL_MS_MIN)
LONG = Variant("long", ttl_ms_min=LONG_TTL_MS_MIN)
"""An agent may be slow to start on a busy machine, and its lease must outlast that."""


class FenceLayout(Layout):
    """Made whole by the constructor; `remove` takes it away."""

    def __init__(self, ttl_ms: int, variant: Variant) -> None:
        self.variant = variant
        self.outside_port = 0
        """Of a service that no guard holds."""
        super().__init__(max(ttl_ms, variant.ttl_ms_min))
        self.stamps.mkdir()
        self.unanswered.mkdir()

    @property
    def step_timeout_ms(self) -> int:
        """Of the activation step: later than any deadline that it begins under."""
        return self.ttl_ms * 3 // 2

    @property
    def referee(self) -> Path:
        return self.root / "referee.sock"

    @property
    def stamps(self) -> Path:
        return self.root / "stamps"

    @property
    def unanswered(self) -> Path:
        """Where a file system is mounted that does not answer."""
        return self.root / "unanswered"

    def trigger(self, site: str) -> Path:
        """Stands for /proc/sysrq-trigger."""
        return self.root / site / "sysrq-trigger"

    def start_command(self, place: SitePlace, key: str = KEY) -> list[str]:
        words = ["start", place.data, place.platform, self.referee, self.stamps, place.name]
        return [*_platform(), *map(str, words)]

    @staticmethod
    def stop_command(place: SitePlace) -> list[str]:
        return [*_platform(), "stop", str(place.data)]

    def _site(self, name: str, ports: Ports) -> SitePlace:
        self.outside_port = self.outside_port or ports.take()
        return super()._site(name, ports)

    def _agent_config(self, place: SitePlace) -> dict[str, Any]:
        return {**super()._agent_config(place), "log": {"level": "info", "format": "json"}}

    def _agent_group(self, place: SitePlace) -> dict[str, Any]:
        group = super()._agent_group(place)
        group["activation"]["timeout"] = f"{2 * self.step_timeout_ms}ms"
        group["activation"]["steps"][0]["timeout"] = f"{self.step_timeout_ms}ms"
        group["probes"][0] = {
            "name": "port",
            "role": "service",
            "kind": "tcp",
            "target": f"127.0.0.1:{place.platform}",
            "interval": "500ms",
            "timeout": "400ms",
        }
        if self.variant.reset:
            self.trigger(place.name).write_bytes(b"")
            kill_ms = max(KILL_BUDGET_MS_MIN, self.ttl_ms // 5)
            group |= {"kill_budget": f"{kill_ms}ms", "stop_budget": f"{kill_ms + self.ttl_ms // 10}ms"}
            reset = {"before": f"{RESET_BEFORE_MS}ms", "trigger": str(self.trigger(place.name)), "required": True}
            group["ladder"] = {"reset": reset}
        if self.variant.network and place.name == SITES[0]:
            address = {"address": f"{VIP}/24", "interface": VIP_DEVICE}
            group["resources"] = {"addresses": [address], "ports": [f"{self.outside_port}/tcp"]}
        return group

    def _group(self) -> dict[str, Any]:
        """Moves follow each other without a pause: it is not the rules against flapping that are tried."""
        calm = {"cooldown": "0s", "moves_max": 1_000, "activation_backoff": "1s"}
        return {**super()._group(), **calm}


def _platform() -> tuple[str, ...]:
    return sys.executable, "-I", "-S", str(PROGRAM)
