"""From the configuration's words to the probe that looks."""

from __future__ import annotations

from agents.config import AgentConfig, ProbeConfig
from agents.core.settings import ProbeRole
from agents.probes.base import Probe, ProbeKind
from agents.probes.exec import ExecProbe
from agents.probes.http import HttpProbe
from agents.probes.schedule import ScheduledProbe
from agents.probes.tcp import TcpProbe
from proto.invariants import require


def build_probe(config: ProbeConfig) -> Probe:
    if config.kind is ProbeKind.TCP and config.target is not None:
        return TcpProbe(config.target.host, config.target.port, config.timeout)
    if config.kind is ProbeKind.HTTP and config.url is not None:
        return HttpProbe(config.url, config.status, config.timeout, verify_tls=config.verify_tls)
    require(
        config.command is not None, f"probe {config.name} passed the configuration's rules without a target"
    )
    return ExecProbe(config.command or (), config.timeout, measures=config.role is ProbeRole.LAG)


def scheduled_probes(config: AgentConfig) -> tuple[ScheduledProbe, ...]:
    return tuple(
        ScheduledProbe(group.group, probe.name, build_probe(probe), probe.interval, probe.timeout)
        for group in config.groups
        for probe in group.probes
    )
