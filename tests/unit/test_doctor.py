"""The doctor's checks, each on a fake root: what it finds, how grave it is, and that a mended host is quiet."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from units_rig import ETC, LIB, Root

from agents.config import parse_agent_config
from agents.doctor import command
from agents.doctor.check_clocks import check_clocks
from agents.doctor.check_containers import check_containers
from agents.doctor.check_cron import check_cron
from agents.doctor.check_files import check_files
from agents.doctor.check_rights import check_rights
from agents.doctor.check_setup import check_setup
from agents.doctor.check_units import check_units
from agents.doctor.check_watchdog import check_watchdog
from agents.doctor.finding import Finding, Promise, Severity, worst
from agents.doctor.host import Host
from agents.doctor.show import findings_view
from agents.units.command import Request, run
from agents.units.drop_in import DROP_IN

BROKEN, WARNING, NOTE = Severity.BROKEN, Severity.WARNING, Severity.NOTE
UNIT = "components: [{name: api, kind: unit, unit: api.service}]"
HELD = "components: [{name: api, kind: unit, unit: api.service, under_exec: true}]"
GOOD: dict[str, Any] = {
    "containment": "pid-namespace",
    "containment_missing": "",
    "privileges": {"oom_score": True, "memory_locked": True, "realtime": True},
    "boottime_timer": True,
    "pidfd": True,
    "netfilter": True,
    "clock_synchronized": True,
    "kernel": "6.1",
}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def host(root: Root, *lines: str, trial: dict[str, Any] | None = None, status: Any = None, site: str = "") -> Host:
    """A group `g` with these lines of configuration."""
    body = "".join(f"    {line}\n" for line in lines)
    text = f"""
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {{ca: ca.pem, cert: a.pem, key: a.key}}
state_dir: {root.path}/state
runtime_dir: {root.path}/run-thirdsite
witnesses: [{{id: w1, address: "127.0.0.1:1"}}]
{site}
groups:
  - group: g
{body}"""
    settings = parse_agent_config(text, base=root.path)
    return Host(settings, root.path, GOOD if trial is None else trial, status)


def brief(findings: Any) -> list[tuple[Severity, str]]:
    return [(one.severity, one.subject) for one in findings]


# -- units --------------------------------------------------------------------------------------------------


def test_an_enabled_unit_breaks_the_promise(root: Root) -> None:
    root.service("api.service", "ExecStart=/bin/api")
    root.enable("api.service")
    found = list(check_units(host(root, UNIT)))
    assert brief(found) == [(BROKEN, "api.service"), (WARNING, "api.service")]
    assert found[0].remedy == "systemctl disable api.service"
    assert found[0].promise is Promise.NO_SPLIT_BRAIN
    assert "site-agent wrap api.service --group g" in found[1].remedy


def test_a_restart_rule_outside_of_a_guard_breaks_the_promise(root: Root) -> None:
    root.service("api.service", "ExecStart=/bin/api", "Restart=always")
    found = list(check_units(host(root, UNIT)))
    assert [one.what for one in found] == ["Restart=always, outside of a guard", "runs outside of a guard"]
    assert found[0].severity is BROKEN


def test_a_wrapped_unit_is_well(root: Root) -> None:
    root.service("api.service", "ExecStart=/bin/api", "Restart=always")
    assert brief(check_units(host(root, HELD))) == [(BROKEN, "api.service")], "it says so and is not"
    list(run(["api.service"], Request("g", write=True, undo=False, config=None, root=root.path)))
    assert list(check_units(host(root, HELD))) == []
    assert brief(check_units(host(root, UNIT))) == [(WARNING, "api.service")], "it is and does not say so"
    root.file(f"{ETC}/api.service.d/zzz.conf", "[Service]\nExecStart=\nExecStart=/bin/api\n")
    assert brief(check_units(host(root, HELD))) == [(BROKEN, "api.service")]
    assert (root.path / ETC / "api.service.d" / DROP_IN).exists()


def test_a_replica_may_be_enabled(root: Root) -> None:
    root.service("db.service", "ExecStart=/bin/db", "Restart=always")
    root.enable("db.service")
    both = "{name: db, kind: unit, role: dual-role, unit: db.service, out_of_role: [/x], standby_start: [/y]}"
    assert list(check_units(host(root, f"components: [{both}]"))) == []


@pytest.mark.parametrize(
    "step",
    [
        "[systemctl, start, api]",
        "[systemctl, --no-block, restart, api.service]",
        '[sh, -c, "x; systemctl start api y"]',
    ],
)
def test_what_a_step_starts_is_looked_at_too(root: Root, step: str) -> None:
    root.service("api.service", "ExecStart=/bin/api")
    root.enable("api.service")
    lines = f"activation: {{steps: [{{name: s, command: {step}}}]}}"
    found = brief(check_units(host(root, lines)))
    assert (WARNING, "api.service") in found
    assert (BROKEN, "api.service") in found


def test_a_missing_unit_and_a_group_that_is_only_watched(root: Root) -> None:
    assert brief(check_units(host(root, UNIT))) == [(WARNING, "api.service")]
    assert list(check_units(host(root, UNIT, "enforce: false"))) == []


# -- cron and containers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "line", "found"),
    [
        ("etc/cron.d/x", "* * * * * root systemctl start api.service", True),
        ("var/spool/cron/crontabs/root", "@reboot service api restart", True),
        ("etc/cron.daily/x", "/opt/api/run-it --now", True),
        ("etc/crontab", "# systemctl start api", False),
        ("etc/crontab", "* * * * * root /opt/other/api-backup", False),
        ("etc/rc.local", "site-agent exec --group g -- /opt/api/run-it", False),
    ],
)
def test_cron_tables_that_name_the_platform(root: Root, place: str, line: str, found: bool) -> None:
    root.file(place, line + "\n")
    steps = "activation: {steps: [{name: s, command: [/opt/api/run-it]}, {name: t, command: [/bin/sh, -c, x]}]}"
    assert brief(check_cron(host(root, UNIT, steps))) == ([(WARNING, f"/{place}:1")] if found else [])


def container(root: Root, policy: str, *command: str) -> None:
    place = "var/lib/docker/containers/abc"
    root.file(f"{place}/hostconfig.json", json.dumps({"RestartPolicy": {"Name": policy}}))
    config = {"Name": "/sms", "Path": command[0], "Args": list(command[1:])}
    root.file(f"{place}/config.v2.json", json.dumps(config))


def test_restart_policies_of_containers(root: Root) -> None:
    outside = "components: [{name: sms, kind: container, container: sms}]"
    inside = "components: [{name: sms, kind: container, container: sms, under_exec: true}]"
    assert list(check_containers(host(root, outside))) == []
    container(root, "no", "java")
    assert list(check_containers(host(root, outside))) == []
    assert brief(check_containers(host(root, inside))) == [(BROKEN, "sms")], "not wrapped"
    container(root, "unless-stopped", "java")
    assert brief(check_containers(host(root, outside))) == [(BROKEN, "sms")]
    container(root, "no", "site-agent", "exec", "--group", "g", "--", "java")
    assert list(check_containers(host(root, inside))) == []
    container(root, "always", "site-agent", "exec", "--group", "g", "--", "java")
    assert brief(check_containers(host(root, inside))) == [(WARNING, "sms")]


# -- rights, clocks, watchdog -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"containment": "process-group", "containment_why": "pid-namespace: refused"}, [(BROKEN, "guard")]),
        ({"containment": "", "containment_why": "x"}, [(BROKEN, "guard")]),
        ({"containment": "user+pid-namespace"}, [(WARNING, "guard")]),
        ({"containment_missing": "its init cannot be set up: mount"}, [(BROKEN, "guard")]),
        ({"containment_missing": "no own /proc"}, [(WARNING, "guard")]),
        ({"privileges": {"oom_score": True}}, [(WARNING, "guard"), (WARNING, "guard")]),
        ({"boottime_timer": False}, [(BROKEN, "kernel")]),
        ({"pidfd": False}, [(BROKEN, "kernel")]),
        ({"netfilter": False}, [(WARNING, "kernel")]),
    ],
)
def test_rights_of_a_guard(root: Root, change: dict[str, Any], expected: list[tuple[Severity, str]]) -> None:
    assert brief(check_rights(host(root, "probes: []", trial=GOOD | change))) == expected


def test_without_a_trial_nothing_is_claimed(root: Root) -> None:
    assert brief(check_rights(host(root, "probes: []", trial={}))) == [(WARNING, "guard")]


def test_units_outside_want_the_kernels_kill(root: Root) -> None:
    assert brief(check_rights(host(root, UNIT))) == [(WARNING, "control groups")]
    root.file("sys/fs/cgroup/cgroup.controllers")
    assert "cgroup.kill" in next(check_rights(host(root, UNIT))).what
    root.file("sys/fs/cgroup/system.slice/cgroup.kill")
    assert list(check_rights(host(root, UNIT))) == []


def test_a_machine_of_its_own_with_a_kept_clock_is_quiet(root: Root) -> None:
    assert list(check_clocks(host(root, "probes: []"))) == []


def test_a_virtual_machine_is_told_what_software_cannot_do(root: Root) -> None:
    root.file("sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n")
    found = list(check_clocks(host(root, "probes: []")))
    assert brief(found) == [(WARNING, "clocks"), (WARNING, "clocks")]
    assert "paused" in found[0].why
    (root.path / "sys/bus/acpi/drivers/vmgenid/QEMUVGID:00").mkdir(parents=True)
    assert len(list(check_clocks(host(root, "probes: []")))) == 1


def test_suspend_swap_and_a_free_wall_clock(root: Root) -> None:
    root.file("sys/power/state", "freeze mem disk\n")
    root.file("proc/swaps", "Filename Type\n/dev/sda2 partition\n")
    trial = GOOD | {"clock_synchronized": False, "privileges": {"memory_locked": False}}
    assert brief(check_clocks(host(root, "probes: []", trial=trial))) == [
        (WARNING, "clocks"),
        (WARNING, "suspend"),
        (WARNING, "swap"),
    ]
    for name in ("sleep", "suspend", "hibernate"):
        root.link(f"{ETC}/{name}.target", "/dev/null")
    assert list(check_clocks(host(root, "probes: []"))) == []


def test_the_watchdog_and_who_has_it(root: Root) -> None:
    assert brief(check_watchdog(host(root, "probes: []"))) == [(NOTE, "watchdog")]
    root.file("sys/class/watchdog/watchdog0/identity", "Software Watchdog\n")
    root.file("proc/77/comm", "feeder\n")
    root.link("proc/77/fd/3", "/dev/watchdog")
    root.file(f"{LIB}/../system.conf", "[Manager]\n#RuntimeWatchdogSec=0\n")
    root.file("etc/systemd/system.conf.d/x.conf", "[Manager]\nRuntimeWatchdogSec=30\n")
    soft, held, manager = check_watchdog(host(root, "probes: []"))
    assert "softdog" in soft.what
    assert "feeder (77)" in held.what
    assert "RuntimeWatchdogSec=30" in manager.what


@pytest.mark.parametrize(("required", "severity"), [("true", BROKEN), ("false", WARNING)])
def test_a_watchdog_that_the_ladder_names_must_be_there(root: Root, required: str, severity: Severity) -> None:
    lines = (
        "stop_budget: 4s",
        "kill_budget: 2s",
        f"ladder: {{watchdog: {{device: /dev/watchdog1, required: {required}}}}}",
    )
    assert (severity, "/dev/watchdog1") in brief(check_watchdog(host(root, *lines)))
    root.file("dev/watchdog1")
    assert "/dev/watchdog1" not in [one.subject for one in check_watchdog(host(root, *lines))]


# -- files and setup ----------------------------------------------------------------------------------------


def mounted(root: Root, kind: str) -> None:
    root.file(
        "proc/self/mountinfo", f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:1 / {root.path}/state rw - {kind} x rw\n"
    )


@pytest.mark.parametrize(
    ("kind", "severity"), [("ext4", None), ("tmpfs", BROKEN), ("overlay", BROKEN), ("nfs4", WARNING)]
)
def test_what_the_state_lies_on(root: Root, kind: str, severity: Severity | None) -> None:
    mounted(root, kind)
    found = [one for one in check_files(host(root, "probes: []")) if one.subject.endswith("/state")]
    assert [one.severity for one in found] == ([] if severity is None else [severity])


def test_a_directory_that_others_may_write(root: Root) -> None:
    state = root.path / "state"
    state.mkdir(mode=0o700)
    assert not any("mode" in one.what for one in check_files(host(root, "probes: []")))
    state.chmod(0o770)
    assert any(one.severity is BROKEN and "mode 770" in one.what for one in check_files(host(root, "probes: []")))


def test_a_certificate_that_is_not_there(root: Root) -> None:
    assert any(
        one.severity is BROKEN and one.subject.endswith("a.pem") for one in check_files(host(root, "probes: []"))
    )


def test_what_the_configuration_leaves_open(root: Root) -> None:
    status = {"groups": [{"group": "g", "state": "standby", "trouble": "", "blockers": ["ttl is too short"]}]}
    found = list(check_setup(host(root, "probes: []", status=status)))
    assert [one.severity for one in found] == [WARNING, WARNING, WARNING, WARNING]
    assert (found[0].subject, found[-1].what) == ("site-link", "ttl is too short")
    whole = [
        "probes: [{name: p, role: service, kind: exec, command: [/x]}]",
        "verify_down: [{name: v, kind: exec, command: [/x]}]",
        "stop_budget: 2s",
        "kill_budget: 1s",
        "deactivation: {steps: [{name: d, command: [/x], timeout: 5s}]}",
    ]
    fenced = {"group": "g", "state": "standby", "trouble": "", "blockers": [], "witness_loss": "fence"}
    (slow,) = check_setup(host(root, *whole, status={"groups": [fenced]}))
    assert (slow.severity, "5000 ms" in slow.what) == (NOTE, True)
    assert brief(check_setup(host(root, *whole[:2]))) == [(WARNING, "agent"), (WARNING, "site-link")]


def test_another_site_that_is_not_reached(root: Root) -> None:
    peers = [
        {"site": "dc-b", "address": "b:7430", "connected": False, "problem": "Connection refused"},
        {"site": "dc-c", "address": "c:7430", "connected": True},
    ]
    group = {"group": "g", "state": "standby", "trouble": "", "blockers": [], "witness_loss": "fence"}
    status = {"groups": [group], "site_link": {"peers": peers}}
    found = [one for one in check_setup(host(root, status=status)) if one.subject.startswith("dc-")]
    assert brief(found) == [(WARNING, "dc-b (b:7430)")]
    assert "Connection refused" in found[0].what


# -- together -----------------------------------------------------------------------------------------------


def test_a_check_that_fails_is_a_finding_and_hides_nothing(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def check_bad(_host: Host) -> Any:
        raise ValueError("boom")

    monkeypatch.setattr(command, "CHECKS", (check_bad, check_setup))
    found = command.judge(host(root, "probes: []"), live=False)
    assert any("boom" in one.what and one.subject == "bad" for one in found)
    assert len(found) > 1


def test_the_worst_comes_first_and_decides(root: Root) -> None:
    root.service("api.service", "ExecStart=/bin/api")
    root.enable("api.service")
    found = command.judge(host(root, UNIT), live=False)
    order = [BROKEN, WARNING, NOTE]
    assert [order.index(one.severity) for one in found] == sorted(order.index(one.severity) for one in found)
    assert worst(found) == 2
    assert worst([one for one in found if one.severity is not BROKEN]) == 1
    assert worst([]) == 0


def test_the_table_says_what_why_and_what_to_do() -> None:
    one = Finding(BROKEN, "api.service", "is enabled", Promise.NO_SPLIT_BRAIN, "it would run", "disable it", "g")
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(findings_view([one]))
    text = console.export_text()
    for words in ("broken", "g: api.service is enabled", "no split-brain: it would run", "disable it", "1 would break"):
        assert words in text
    assert one.as_json()["remedy"] == "disable it"
