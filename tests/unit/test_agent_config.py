"""The agent's configuration: the shipped example loads, and every refusal says what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.actions.guard_setup import guard_options, timed_resources, undo_guard_options
from agents.config import AgentConfig, agent_schema, load_agent_config, parse_agent_config
from agents.core.settings import ProbeRole
from agents.fencing.guard_options import GuardOptions
from agents.settings import core_settings, from_json, to_json
from proto.edge.config_file import ConfigRefused
from proto.timing import SiteBudgets

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "agent.yaml"


def refused(old: str, new: str) -> str:
    text = EXAMPLE.read_text()
    assert text.count(old) == 1, f"{old!r} must stand once in the example"
    with pytest.raises(ConfigRefused) as caught:
        parse_agent_config(text.replace(old, new), base=Path("/etc/thirdsite"))
    return str(caught.value)


def test_the_example_loads() -> None:
    config = load_agent_config(EXAMPLE)
    settings = core_settings(config, store_id=b"s" * 16)
    assert settings.site == "dc-a"
    assert settings.witnesses == ("w1", "w2", "w3")
    (group,) = settings.groups
    assert group.budgets == SiteBudgets(stop_budget_ms=2500, kill_budget_ms=1000)
    assert group.activation_timeout_ms == 120_000
    assert [probe.role for probe in group.probes] == [*ProbeRole, ProbeRole.READY, ProbeRole.READY, ProbeRole.DATA]
    assert config.exec_socket == Path("/run/thirdsite/agent.sock")


def test_settings_travel_as_they_are() -> None:
    settings = load_agent_config(EXAMPLE)
    assert from_json(to_json(settings)) == settings


def test_defaults_pass_their_own_rules() -> None:
    minimal = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {ca: ca.pem, cert: a.pem, key: a.key}
state_dir: state
runtime_dir: run
witnesses: [{id: w1, address: "127.0.0.1:1"}]
groups: [{group: g, activation: {steps: [{name: s, command: [/bin/true]}]}}]
"""
    config = parse_agent_config(minimal, base=Path("/etc/x"))
    (group,) = config.groups
    assert group.enforce
    assert group.budgets is None
    assert (group.activation.timeout_ms, group.activation.steps[0].timeout_ms) == (60_000, 30_000)
    assert config.tls.ca == Path("/etc/x/ca.pem")
    assert config.http is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "kill_budget: 1s",
            "kill_budgt: 1s",
            "groups[0].kill_budgt: unknown key; did you mean 'kill_budget'?",
        ),
        ("kill_budget: 1s", "kill_budget: 3s", "stop_budget > kill_budget = 3000 ms"),
        ("kill_budget: 1s", "kill_budget: 99ms", "at least 2 x 50 ms"),
        ("    kill_budget: 1s\n", "", "stop_budget and kill_budget belong together; write both or none"),
        ("stop_budget: 2500ms", "stop_budget: 2500", 'write "2500s" or "2500ms"'),
        (
            "interval: 2s, timeout: 1s",
            "interval: 1s, timeout: 2s",
            "timeout 2000 ms is longer than interval 1000 ms",
        ),
        ("timeout: 60s", "timeout: 5m", "step promote-db may take 300000 ms, the whole plan 120000 ms"),
        ("name: start-app", "name: promote-db", "step promote-db stands in steps twice"),
        ("{id: w2,", "{id: w1,", "witness w1 stands in witnesses twice"),
        ("role: ready", "role: redy", "did you mean 'ready'?"),
        ("site: dc-a\n", "site: DC_A\n", "1 to 63 of a-z"),
        ("site: dc-a\n", "", "site: is required; add it, for example `site: dc-a`"),
        ("cluster: 0123456789", "cluster: 012345678Z", "32 lower-case hex digits"),
        ("name: app-port, kind: tcp,", "name: app-port, kind: http,", "proves nothing about what is down"),
        ("SHOP_CONFIG:", "THIRDSITE_EPOCH:", "is set by the agent"),
        ('url: "http://127.0.0.1:8080/healthz"', 'target: "127.0.0.1:8080"', "kind http needs url"),
        ('url: "http://127.0.0.1:8080/healthz"', 'url: "ftp://x"', "; write for example http://127.0.0.1:8080/healthz"),
        ("retries: 2", "retries: 200", "must be at most 100"),
        ("state_dir: /var/lib/thirdsite/agent", "state_dir: /run/thirdsite", "they differ"),
        ("runtime_dir: /run/thirdsite", f"runtime_dir: /{'r' * 120}", "Unix takes 107"),
        ("command: [/usr/local/lib/shop/drain]", "command: []", "a list whose first item is the program"),
    ],
)
def test_refusals_say_what_to_change(old: str, new: str, expected: str) -> None:
    words = refused(old, new)
    assert expected in words
    assert words.startswith("agent.yaml:")


LADDER = "cgroup: {required: false}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (LADDER, "cgroup: {enabled: false, required: true}", "cgroup is required and not enabled"),
        (LADDER, "cgroup: {outside: [../escape]}", "; write for example system.slice/shop-legacy.service"),
        (LADDER, "watchdog: {device: /dev/watchdog}", "kill_budget >= 1500 ms"),
        (LADDER, "reset: {before: 99ms}", "at least 2 x 50 ms"),
        (LADDER, "reset: {before: 900ms}", "kill_budget >= reset.before + 200 ms = 1100 ms"),
        (LADDER, "reset: {}", "reset.before"),
        ("kill_budget: 1s", "", "stop_budget and kill_budget belong together"),
    ],
)
def test_refusals_of_the_ladder_say_what_to_change(old: str, new: str, expected: str) -> None:
    assert expected in refused(old, new)


def test_a_reset_below_the_floor_is_refused_also_without_budgets() -> None:
    without = EXAMPLE.read_text(encoding="utf-8").replace("stop_budget: 2500ms", "").replace("kill_budget: 1s", "")
    with pytest.raises(ConfigRefused, match="at least 2 x 50 ms; set it to 100 ms or more"):
        parse_agent_config(without.replace(LADDER, "reset: {before: 99ms}"), file="agent.yaml", base=EXAMPLE.parent)


def test_the_ladder_reaches_the_guard_as_it_takes_it_apart() -> None:
    rungs = """cgroup: {required: true, outside: [system.slice/old.service]}
      watchdog: {required: true}
      reset: {before: 100ms}"""
    text = EXAMPLE.read_text().replace("kill_budget: 1s", "kill_budget: 2s").replace(LADDER, rungs)
    text = text.replace("stop_budget: 2500ms", "stop_budget: 4s")
    settings = parse_agent_config(text, base=Path("/etc/thirdsite"))
    (group,) = settings.groups
    options = GuardOptions(guard_options(group))
    assert (options.cgroup, options.outside) == (True, ["system.slice/old.service"])
    assert options.watchdog_device == "/dev/watchdog"
    assert (options.reset_trigger, options.reset_before_ns) == ("/proc/sysrq-trigger", 100_000_000)
    assert options.required == ["cgroup", "watchdog", "outside"]
    (core,) = core_settings(settings, store_id=b"s" * 16).groups
    assert (core.watchdog, core.reset_before_ms) == (True, 100)
    assert from_json(to_json(settings)) == settings


ADDRESS = "address: 192.0.2.10/24"
PORTS = "ports: [8443/tcp]"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (ADDRESS, "address: 192.0.2.10", "an address is written with the length of its prefix"),
        (ADDRESS, "address: 127.0.0.1/8", "clients of another host must be able to reach it"),
        (PORTS, "ports: [8443]", 'with its protocol; write for example "443/tcp"'),
        (PORTS, "ports: [0/tcp]", "a port is a number from 1 to 65535"),
        (PORTS, "ports: [8443/sctp]", "with its protocol"),
        (PORTS, "ports: [47780-47650/udp]", 'or a range of them, with its protocol; write for example "443/tcp"'),
        (PORTS, "ports: [47650-65536/udp]", "a port is a number from 1 to 65535"),
        (PORTS, "ports: [47650-47780/udp, 47700/udp]", "port 47700/udp stands in ports twice"),
        (PORTS, "ports: [1-2000/udp]", "these are 2000 ports, a group takes 1024"),
        (PORTS, "ports: [7450-7500/tcp]", "7480/tcp belongs to local.http and to shop"),
        (PORTS, "ports: [8443/tcp, 8443/tcp]", "port 8443/tcp stands in ports twice"),
        (PORTS, "ports: [7480/tcp]", "7480/tcp belongs to local.http and to shop: the one that is dormant takes it"),
        (
            "\nlog:\n",
            "\n  - {group: other, resources: {ports: [8443/tcp]}}\nlog:\n",
            "8443/tcp belongs to shop and to other",
        ),
    ],
)
def test_refusals_of_resources_say_what_to_change(old: str, new: str, expected: str) -> None:
    assert expected in refused(old, new)


def test_resources_reach_the_guard_as_it_takes_them_apart() -> None:
    (group,) = load_agent_config(EXAMPLE).groups
    options = GuardOptions(guard_options(group))
    assert options.addresses == [("192.0.2.10", 24, "eth0")]
    assert options.ports == [("tcp", 8443)]
    names = ["address 192.0.2.10 on eth0", "ports 8443/tcp"]
    assert [one.name for one in options.resources("shop")] == names
    assert [one.name for one in timed_resources(group)] == names
    assert core_settings(load_agent_config(EXAMPLE), store_id=b"s" * 16).groups[0].addresses


def test_a_range_of_ports_is_every_one_of_them_and_is_named_in_one_word() -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace(PORTS, "ports: [443/tcp, 46982-46984/tcp, 46982/udp]")
    (group,) = parse_agent_config(text).groups
    expected = [("tcp", 443), ("tcp", 46982), ("tcp", 46983), ("tcp", 46984), ("udp", 46982)]
    assert GuardOptions(guard_options(group)).ports == expected
    assert timed_resources(group)[1].name == "ports 443/tcp 46982-46984/tcp 46982/udp"


def test_the_guard_of_undo_commands_holds_nothing_that_another_site_may_hold_by_then() -> None:
    """It is armed without a lease: with the group's options it would put the address back on a fenced host."""
    (group,) = load_agent_config(EXAMPLE).groups
    bare = GuardOptions(undo_guard_options(guard_options(group)))
    assert bare.cgroup == GuardOptions(guard_options(group)).cgroup
    assert bare.resources("shop") == []
    assert bare.watchdog() is None
    assert (bare.outside, bare.reset_trigger, bare.required) == ([], "", [])


def test_a_lag_probe_must_print_a_number() -> None:
    words = refused(
        "role: lag, kind: exec, command: [/usr/local/lib/shop/db-lag-ms]",
        'role: lag, kind: tcp, target: "a:1"',
    )
    assert "kind tcp does not; use kind exec" in words


def test_no_value_of_the_environment_reaches_an_error() -> None:
    words = refused("env: {SHOP_CONFIG: /etc/shop/server.toml}", "timeout: 10m\n          env: {PASS: hunter2}")
    assert "may take 600000 ms" in words
    assert "hunter2" not in words


def test_every_problem_is_told_at_once() -> None:
    text = EXAMPLE.read_text().replace("role: ready", "role: redy").replace("kill_budget: 1s", "kill_budget: 1")
    with pytest.raises(ConfigRefused) as caught:
        parse_agent_config(text)
    assert len(caught.value.problems) == 2


def test_the_schema_covers_the_file() -> None:
    schema = agent_schema()
    assert set(schema["properties"]) == set(AgentConfig.model_fields)
    assert schema["additionalProperties"] is False
