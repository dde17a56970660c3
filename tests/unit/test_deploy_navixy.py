"""What stands in deploy/navixy is taken by the product's own readers, and its parts agree with each other."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from units_rig import Root

from agents.components.spec import ComponentKind
from agents.config import load_agent_config, parse_agent_config
from agents.doctor.check_units import check_units
from agents.doctor.finding import Severity
from agents.doctor.host import Host
from agents.runtime.check import check_agent
from agents.settings import GroupSpec, SiteSettings
from agents.units import command
from agents.units.command import Request
from proto.timing import check_ladder, check_site
from witness.ctl.group_file import load_groups
from witness.pki.store import create_ca, issue

PLACE = Path(__file__).resolve().parents[2] / "deploy" / "navixy"
INSTALLED = "/usr/local/lib/thirdsite/"
KINDS = ("systemd", "docker")
SERVICES = ("api-server.service", "sms-server.service", "tcp-server.service")
PASSWD = "root:x:0:0::/root:/bin/sh\nnavixy:x:990:990::/:/bin/sh\n"


def agent(kind: str) -> tuple[SiteSettings, GroupSpec]:
    settings = load_agent_config(PLACE / f"agent-{kind}.yaml")
    (group,) = settings.groups
    return settings, group


def program(name: str) -> ModuleType:
    """A program of deploy/navixy, as a module."""
    sys.path.insert(0, str(PLACE))
    try:
        spec = importlib.util.spec_from_file_location(name, PLACE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made  # where its dataclasses look
        spec.loader.exec_module(made)
        return made
    finally:
        sys.path.remove(str(PLACE))


def commands(group: GroupSpec) -> Iterator[tuple[str, ...]]:
    for step in (*group.activation.steps, *group.deactivation.steps, *group.on_epoch):
        yield from (step.argv, step.undo)
    for component in group.components:
        yield from (component.out_of_role, component.standby_start, component.rejoined, component.end)
    for probe in group.probes:
        yield probe.command


@pytest.mark.parametrize("kind", KINDS)
def test_site_and_group_fit_the_groups_file(kind: str) -> None:
    settings, group = agent(kind)
    (wanted,) = load_groups(PLACE / "groups.yaml")
    assert group.group == wanted.group
    assert settings.site_link is not None
    assert {settings.site, *(peer.site for peer in settings.site_link.peers)} == set(wanted.sites)
    assert group.budgets is not None
    assert list(check_site(wanted.constants, group.budgets)) == []
    assert list(check_ladder(group.budgets, watchdog=False, reset_before_ms=None)) == []
    stop_ms = sum(step.timeout_ms * (step.retries + 1) for step in group.deactivation.steps)
    assert stop_ms <= group.deactivation.timeout_ms < wanted.handover_timeout_ms
    start_ms = sum(step.timeout_ms * (step.retries + 1) for step in group.activation.steps)
    assert start_ms <= group.activation.timeout_ms
    (wait,) = (step for step in group.activation.steps if step.name == "wait-until-up")
    assert wait.timeout_ms > 90_000, "Navixy needs 60 to 90 s"


@pytest.mark.parametrize("kind", KINDS)
def test_the_license_of_the_groups_file_is_restored_behind_the_promotion_and_before_the_start(kind: str) -> None:
    _settings, group = agent(kind)
    (wanted,) = load_groups(PLACE / "groups.yaml")
    assert [(one.name, one.escrow) for one in group.licenses] == [(one.name, one.escrow) for one in wanted.licenses]
    (license_,) = group.licenses
    names = [step.name for step in group.activation.steps]
    assert names.index(license_.restore_after) < names.index("start-services")
    assert license_.source is not None
    assert license_.sink is not None
    assert license_.source.statement == "SELECT value FROM google.variables WHERE var = 'fingerprint'"
    assert license_.sink.statement == "UPDATE google.variables SET value = %s WHERE var = 'fingerprint'"
    assert license_.probe


@pytest.mark.parametrize("kind", KINDS)
def test_its_commands_are_there_and_know_what_they_are_asked(kind: str) -> None:
    _settings, group = agent(kind)
    known = {"navixy_db.py": set(program("navixy_db").COMMANDS), "navixy_check.py": None}
    asked = 0
    for argv in commands(group):
        for name, word in re.findall(rf"{INSTALLED}(\S+) ?(\S*)", " ".join(argv)):
            assert (PLACE / name).stat().st_mode & 0o111, f"{name} can be run"
            assert known[name] is None or word in known[name], argv
            asked += 1
    assert asked > 8


def test_both_kinds_open_the_same_ports_and_the_vendor_is_asked_for() -> None:
    ports = {kind: agent(kind)[1].resources.ports for kind in KINDS}
    assert ports["systemd"] == ports["docker"]
    assert len(ports["systemd"]) == 3 + 2 * (6 + 19 + 131)
    for kind in KINDS:
        ready = [str(probe.target) for probe in agent(kind)[1].probes if probe.role.value == "ready" and probe.target]
        assert any("32233" in target for target in ready)


def test_ports_of_outgoing_connections_are_reserved() -> None:
    (line,) = (one for one in (PLACE / "sysctl.conf").read_text().splitlines() if one.startswith("net."))
    ranges = [tuple(map(int, one.split("-"))) for one in line.partition("=")[2].strip().split(",")]
    ports = [one.port for one in agent("systemd")[1].resources.ports]
    outgoing = [port for port in ports if 32_768 <= port <= 60_999]  # ip_local_port_range as Linux sets it
    assert outgoing != []
    assert [port for port in outgoing if not any(first <= port <= last for first, last in ranges)] == []


def test_the_containers_are_those_of_the_compose_file_and_nothing_else_starts_them() -> None:
    _settings, group = agent("docker")
    made: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text())["services"]
    named = {one.container: one for one in group.components}
    assert named.keys() == {service["container_name"] for service in made.values()}
    published: set[str] = set()
    for service in made.values():
        exclusive = not named[service["container_name"]].dual_role
        assert (service["restart"] == "no") == exclusive
        if exclusive:
            published |= {one.partition(":")[2] for one in service.get("ports", ())}
    found = {one if "/" in one else f"{one}/tcp" for one in published}
    written = yaml.safe_load((PLACE / "agent-docker.yaml").read_text())["groups"][0]["resources"]["ports"]
    assert found == set(written)


def test_the_services_are_wrapped_and_the_doctor_has_nothing_against_them(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    root.file("etc/passwd", PASSWD)
    for name in SERVICES:
        root.service(name, "User=navixy", "ExecStart=/usr/bin/java -jar /opt/navixy/server.jar", "Restart=always")
    root.service("mysql.service", "ExecStart=/usr/sbin/mysqld", "Restart=on-failure", "Type=notify")
    root.enable("mysql.service")
    settings, group = agent("systemd")
    assert [one.unit for one in group.components if not one.dual_role] == list(SERVICES)
    assert all(one.under_exec for one in group.components if one.kind is ComponentKind.UNIT and not one.dual_role)
    before = list(check_units(Host(settings, root.path)))
    assert {one.subject for one in before if one.severity is Severity.BROKEN} == set(SERVICES)
    request = Request(group="", write=True, undo=False, config=PLACE / "agent-systemd.yaml", root=root.path)
    list(command.run(SERVICES, request))
    assert list(check_units(Host(settings, root.path))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_site_agent_check_takes_it_with_a_certificate(kind: str, tmp_path: Path) -> None:
    made = create_ca(tmp_path / "pki")
    where = issue(tmp_path / "pki", "agent", "dc-a", groups=["navixy"]).tls_files().cert.parent
    text = (PLACE / f"agent-{kind}.yaml").read_text(encoding="utf-8")
    text = text.replace("0123456789abcdef0123456789abcdef", str(made.cluster_id))
    for part in ("ca", "cert", "key"):
        text = text.replace(f"/etc/thirdsite/{part}.pem", str(where / f"{part}.pem"))
    config = tmp_path / "agent.yaml"
    config.write_text(text, encoding="utf-8")
    said = "\n".join(check_agent(config))
    assert "site dc-a, groups navixy" in said
    assert "to dc-b at 10.0.1.1:7430" in said
    assert "no service probe" not in said
    parse_agent_config(text.replace("site: dc-a\n", "site: dc-c\n", 1))  # names are the reader's, the rest is one file
