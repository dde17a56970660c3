"""The doctor against real sockets and processes: ports, components, witnesses, and the command itself."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.config import parse_agent_config
from agents.doctor.check_live import check_live
from agents.doctor.finding import Severity
from agents.doctor.host import Host

pytestmark = pytest.mark.process


def config(path: Path, witnesses: list[int], group: str) -> str:
    named = ", ".join(f'{{id: w{number}, address: "127.0.0.1:{port}"}}' for number, port in enumerate(witnesses))
    return f"""
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {{ca: ca.pem, cert: a.pem, key: a.key}}
state_dir: {path}/state
runtime_dir: {path}/run
witnesses: [{named}]
groups:
  - group: g
{group}"""


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def closed_port() -> int:
    with listener() as one:
        return int(one.getsockname()[1])


async def live(path: Path, witnesses: list[int], group: str, status: Any = None) -> list[tuple[Severity, str]]:
    settings = parse_agent_config(config(path, witnesses, group), base=path)
    found = await check_live(Host(settings, path, {}, status))
    return [(one.severity, one.subject.split()[0]) for one in found]


@pytest.mark.parametrize(("there", "remedy"), [(False, "make it answer, as root"), (True, "stop it; find out who")])
async def test_what_cannot_be_looked_at_has_another_remedy_than_what_runs(
    tmp_path: Path, there: bool, remedy: str
) -> None:
    tree = tmp_path / "root/sys/fs/cgroup"
    unit = tree / "system.slice/api.service"
    if there:
        unit.mkdir(parents=True)
        (tree / "cgroup.procs").write_text("", encoding="utf-8")
        (unit / "cgroup.procs").write_text("4711\n", encoding="utf-8")
    group = "    components: [{name: api, kind: unit, unit: api.service}]\n"
    settings = parse_agent_config(config(tmp_path, [closed_port()], group), base=tmp_path)
    (found,) = [one for one in await check_live(Host(settings, tmp_path / "root", {}, None)) if one.subject == "api"]
    assert found.remedy.startswith(remedy)


async def test_a_port_that_answers_on_a_dormant_site(tmp_path: Path) -> None:
    with listener() as port:
        at = f"127.0.0.1:{port.getsockname()[1]}"
        group = f'    verify_down: [{{name: p, kind: tcp, target: "{at}"}}]\n'
        assert (Severity.BROKEN, at) in await live(tmp_path, [port.getsockname()[1]], group)
        active = {"groups": [{"group": "g", "state": "active"}]}
        assert (Severity.BROKEN, at) not in await live(tmp_path, [port.getsockname()[1]], group, active)
    at = f"127.0.0.1:{closed_port()}"
    group = f'    verify_down: [{{name: p, kind: tcp, target: "{at}"}}]\n'
    assert (Severity.BROKEN, at) not in await live(tmp_path, [closed_port()], group)


async def test_a_component_that_is_up_on_a_dormant_site(tmp_path: Path) -> None:
    both = ("{name: db, kind: database, down: [/bin/false]}", "{name: ok, kind: database, down: [/bin/true]}")
    group = f"    components: [{', '.join(both)}]\n"
    found = await live(tmp_path, [closed_port()], group)
    assert [one for one in found if one[1] in ("db", "ok")] == [(Severity.BROKEN, "db")]


async def test_witnesses_count_as_a_majority(tmp_path: Path) -> None:
    with listener() as one, listener() as two:
        up = [one.getsockname()[1], two.getsockname()[1]]
        found = await live(tmp_path, [*up, closed_port()], "    probes: []\n")
        assert found == [(Severity.NOTE, "w0"), (Severity.NOTE, "w1"), (Severity.WARNING, "w2")]
        found = await live(tmp_path, [up[0], closed_port(), closed_port()], "    probes: []\n")
        assert found == [(Severity.NOTE, "w0"), (Severity.BROKEN, "w1"), (Severity.BROKEN, "w2")]


def test_the_command_changes_nothing_and_exits_by_the_worst(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(config(tmp_path, [closed_port()], "    probes: []\n"))
    before = sorted(tmp_path.iterdir())
    argv = [sys.executable, "-m", "agents", "doctor", "-c", str(file), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert findings[0]["severity"] == "broken"
    assert all(one["remedy"] and one["why"] for one in findings)
    assert not any("the check itself failed" in one["what"] for one in findings)
    assert sorted(tmp_path.iterdir()) == before
    missing = subprocess.run([*argv[:-2], "/nonexistent"], capture_output=True, text=True, timeout=60, check=False)
    assert missing.returncode == 78


def test_a_trial_tells_what_a_guard_gets() -> None:
    argv = [sys.executable, "-P", "-m", "agents.doctor.trial"]
    found = json.loads(subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout)
    assert found["containment"] in ("pid-namespace", "user+pid-namespace", "process-group")
    assert set(found["privileges"]) == {"oom_score", "memory_locked", "realtime"}
    assert found["boottime_timer"]
