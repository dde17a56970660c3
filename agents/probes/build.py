"""From the settings to the probes that look."""

from __future__ import annotations

from agents.core.settings import ProbeKind, ProbeRole
from agents.probes.base import Probe
from agents.probes.exec import ExecProbe
from agents.probes.http import HttpProbe
from agents.probes.schedule import ScheduledProbe
from agents.probes.tcp import TcpProbe
from agents.settings import ProbeSpec, SiteSettings


def build_probe(spec: ProbeSpec) -> Probe:
    if spec.target is not None:
        return TcpProbe(spec.target.host, spec.target.port, spec.timeout_ms)
    if spec.kind is ProbeKind.HTTP:
        return HttpProbe(spec.url, spec.statuses, spec.timeout_ms, verify_tls=spec.verify_tls)
    return ExecProbe(spec.command, spec.timeout_ms, measures=spec.role is ProbeRole.LAG)


def scheduled_probes(site: SiteSettings) -> tuple[ScheduledProbe, ...]:
    return tuple(
        ScheduledProbe(group.group, probe.name, build_probe(probe), probe.interval_ms, probe.timeout_ms)
        for group in site.groups
        for probe in group.probes
    )
