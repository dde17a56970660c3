"""Components of a group: what the configuration takes, what proves one down, how it is held, and that a dormant
site ends what runs on it.
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from runner_rig import G, World, well

from agents.components import cgroups
from agents.components.base import Component
from agents.components.by_command import CommandComponent, DualRole
from agents.components.container import runs_exec
from agents.components.held import Around, component_rows
from agents.components.spec import ComponentKind, ComponentRole, ComponentSpec
from agents.components.unit import UnitComponent
from agents.components.watching import component_probes
from agents.config import parse_agent_config
from agents.core.effects import Fence, PlanKind
from agents.core.settings import ProbeRole
from agents.local.status_text import status_view
from agents.settings import core_settings, from_json, to_json
from proto.edge.config_file import ConfigRefused

HEAD = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {ca: ca.pem, cert: a.pem, key: a.key}
state_dir: state
runtime_dir: run
witnesses: [{id: w1, address: "127.0.0.1:1"}]
groups:
  - group: g
    probes: [{name: disk, role: ready, kind: exec, command: [/bin/true]}]
    components:
"""
DB = "{name: db, kind: database, role: dual-role, out_of_role: [/b/o], standby_start: [/b/s], rejoined: [/b/r]}"


def parse(*components: str):
    text = HEAD + "".join(f"      - {one}\n" for one in components)
    return parse_agent_config(text, base=Path("/etc/thirdsite"))


def test_components_become_looks_and_travel_as_they_are() -> None:
    settings = parse(
        "{name: api, kind: unit, unit: api-server.service, under_exec: true}",
        "{name: sms, kind: container, container: sms-server, engine: /run/podman/podman.sock}",
        "{name: app, kind: process}",
        DB,
    )
    api, sms, app, db = settings.groups[0].components
    assert (api.unit, api.under_exec, app.under_exec, sms.under_exec) == ("api-server.service", True, True, False)
    assert sms.engine == Path("/run/podman/podman.sock")
    assert (db.role, db.rejoined, db.timeout_ms) == (ComponentRole.DUAL_ROLE, ("/b/r",), 5_000)
    assert from_json(to_json(settings)) == settings
    probes = {one.name: one.role for one in core_settings(settings, store_id=b"s" * 16).groups[0].probes}
    assert probes == {
        "disk": ProbeRole.READY,
        "component:api": ProbeRole.READY,
        "component:sms": ProbeRole.READY,
        "component:db": ProbeRole.READY,
        "component:db:rejoined": ProbeRole.DATA,
    }


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        (["{name: a, kind: unit}"], "kind unit in role exclusive needs unit; add it: for example"),
        (["{name: a, kind: unit, unit: api}"], "the full name of a service"),
        (["{name: a, kind: container, container: /x}"], "a container's name has"),
        (["{name: a, kind: database}"], "needs down; add it: a command that exits with 0 when it is down"),
        (["{name: a, kind: database, role: dual-role, out_of_role: [/x]}"], "needs standby_start"),
        (["{name: a, kind: database, role: dual-role, standby_start: [/x]}"], "needs out_of_role"),
        (["{name: a, kind: process, role: dual-role}"], "cannot be a replica beside it"),
        (["{name: a, kind: unit, unit: a.service, rejoined: [/x]}"], "has no rejoined; remove rejoined"),
        (["{name: a, kind: process, under_exec: false}"], "has no under_exec"),
        (["{name: a, kind: container, container: x, end: [/x]}"], "has no end"),
        (["{name: a, kind: process}", "{name: a, kind: process}"], "component a stands in components twice"),
        (
            ["{name: a, kind: unit, unit: a.service}", "{name: b, kind: unit, unit: a.service}"],
            "unit a.service stands in components twice",
        ),
        (["{name: a, kind: unti, unit: a.service}"], "did you mean 'unit'?"),
    ],
)
def test_refusals_say_what_to_change(components: list[str], expected: str) -> None:
    with pytest.raises(ConfigRefused) as caught:
        parse(*components)
    assert expected in str(caught.value)


def unit(under_exec: bool = False) -> ComponentSpec:
    return ComponentSpec("api", ComponentKind.UNIT, under_exec=under_exec, unit="api.service")


def tree(root: Path, *pids: int, name: str = "api.service") -> Path:
    """A unified hierarchy with one unit, and a group of its own below it."""
    group = root / "system.slice" / "system-x.slice" / name
    below = group / "worker"
    below.mkdir(parents=True)
    (root / "cgroup.procs").write_text("1\n")
    (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids[:1]))
    (below / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids[1:]))
    return group


async def test_a_unit_is_down_when_its_control_group_is_empty(tmp_path: Path) -> None:
    component = UnitComponent(unit(), tmp_path)
    assert "cannot tell" in await component.still_up()
    group = tree(tmp_path, 4_000_001, 4_000_002)
    assert await component.still_up() == "api.service runs: pids 4000001, 4000002"
    for file in group.rglob("cgroup.procs"):
        file.write_text("")
    assert await component.still_up() == ""


async def test_a_unit_without_a_control_group_is_down(tmp_path: Path) -> None:
    tree(tmp_path, 4_000_001, name="other.service")
    assert await UnitComponent(unit(), tmp_path).still_up() == ""


@pytest.mark.parametrize(
    ("words", "guard"),
    [
        ("python3 -I -S /x/agents/fencing/guard_main.py exec --group g -- java", True),
        ("python3 -I -S /x/guard_main.py --control-fd 3", False),
        ("java -jar x.jar exec", False),
        ("", False),
    ],
)
async def test_a_guard_that_waits_is_no_life_of_a_wrapped_unit(tmp_path: Path, words: str, guard: bool) -> None:
    tree(tmp_path, 4_000_001)
    proc = tmp_path / "proc"
    (proc / "4000001").mkdir(parents=True)
    (proc / "4000001" / "cmdline").write_text("".join(f"{word}\0" for word in words.split()))
    assert (await UnitComponent(unit(under_exec=True), tmp_path, proc).still_up() == "") is guard
    assert "runs" in await UnitComponent(unit(), tmp_path, proc).still_up()


@pytest.mark.parametrize("place", ["", "unified", "systemd"])
def test_the_hierarchy_is_found_in_each_layout(tmp_path: Path, place: str) -> None:
    root = tmp_path / place
    (root / "system.slice").mkdir(parents=True)
    (root / "cgroup.procs").write_text("")
    assert cgroups.hierarchy(tmp_path) == root


def database(**commands: tuple[str, ...]) -> ComponentSpec:
    return ComponentSpec("db", ComponentKind.DATABASE, **commands)


YES, NO = ("/bin/true",), ("/bin/sh", "-c", "echo it is $THIRDSITE_GROUP; exit 1")


async def test_a_database_is_down_when_its_command_says_so(tmp_path: Path) -> None:
    about = {"THIRDSITE_GROUP": "g"}
    assert await CommandComponent(database(down=YES), about).still_up() == ""
    assert await CommandComponent(database(down=NO), about).still_up() == "down command: exit code 1, it said: it is g"
    assert "only the deactivation steps" in await CommandComponent(database(down=NO), about).end()
    assert "cannot be started" in await CommandComponent(database(down=("/nonexistent",)), about).still_up()
    mark = tmp_path / "ended"
    assert await CommandComponent(database(down=NO, end=("/usr/bin/touch", str(mark))), about).end() == ""
    assert mark.exists()


class Body:
    """A component whose life the test decides."""

    def __init__(self, up: str) -> None:
        self.spec = unit()
        self.up = up
        self.ends = 0

    async def still_up(self) -> str:
        return self.up

    async def end(self) -> str:
        self.ends += 1
        self.up = ""
        return ""


@pytest.mark.parametrize(
    ("up", "out_of_role", "standby_start", "expected"),
    [
        ("runs", YES, YES, ""),
        ("", NO, YES, ""),
        ("runs", NO, YES, "not out of the active role"),
        ("runs", YES, NO, "next start would not be in the standby role"),
        ("", YES, NO, "next start would not be in the standby role"),
    ],
)
async def test_dual_role_means_dead_or_out_of_role_and_back_as_standby(
    up: str, out_of_role: tuple[str, ...], standby_start: tuple[str, ...], expected: str
) -> None:
    spec = database(out_of_role=out_of_role, standby_start=standby_start)
    words = await DualRole(spec, {}, Body(up)).still_up()
    assert (words == "") is (expected == "")
    assert expected in words


async def test_only_what_is_in_the_active_role_is_ended() -> None:
    replica, primary = Body("runs"), Body("runs")
    await DualRole(database(out_of_role=YES, standby_start=NO), {}, replica).end()
    await DualRole(database(out_of_role=NO, standby_start=YES), {}, primary).end()
    assert (replica.ends, primary.ends) == (0, 1)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("/usr/local/bin/site-agent", "exec", "--group", "g", "--", "java"), True),
        (("/usr/bin/python3", "/opt/venv/bin/site-agent", "exec", "--", "x"), True),
        (("java", "-jar", "x.jar"), False),
        (("site-agent", "run"), False),
        (("echo", "site-agent-exec"), False),
    ],
)
def test_a_wrapped_entrypoint_is_known(command: tuple[str, ...], expected: bool) -> None:
    assert runs_exec(command) is expected


def test_the_status_says_how_each_is_held() -> None:
    specs = (
        ComponentSpec("app", ComponentKind.PROCESS, under_exec=True),
        unit(under_exec=True),
        ComponentSpec("old", ComponentKind.UNIT, unit="old.service"),
        ComponentSpec("sms", ComponentKind.CONTAINER, container="sms"),
        ComponentSpec("db", ComponentKind.DATABASE, role=ComponentRole.DUAL_ROLE, out_of_role=YES, standby_start=YES),
    )
    rows = component_rows(specs, Around("pid-namespace"))
    assert [row["held"] for row in rows] == ["namespace", "namespace", "cgroup", "ladder", "ladder"]
    assert all("outlives the deadline" in row["words"] for row in rows if row["held"] != "namespace")
    assert "standby role" in rows[4]["words"]
    weak = component_rows(specs, Around("process-group (weaker)", [{"containment": "pid-namespace"}]))
    assert [row["held"] for row in weak[:2]] == ["ladder", "namespace"]
    assert component_rows(specs[:1], Around())[0]["held"] == "unknown"


@pytest.mark.parametrize(
    ("around", "words"),
    [
        (Around("pid-namespace"), "the agent kills its control group; if this whole site is stopped it outlives"),
        (Around("pid-namespace"), "nothing bounds it"),
        (Around("pid-namespace", timed=True), "only the kernel-timed addresses and ports bound it"),
        (Around("pid-namespace", timed=True, watchdog=True), "until the watchdog resets the host"),
        (Around("pid-namespace", outside=("system.slice/api.service",)), "guard and agent kill its control group"),
    ],
)
def test_the_status_says_what_bounds_the_weaker_ones(around: Around, words: str) -> None:
    (row,) = component_rows((unit(),), around)
    assert words in row["words"]


def test_the_table_shows_each_component() -> None:
    group: dict[str, Any] = {"group": "g", "components": component_rows((unit(),), Around("pid-namespace"))}
    group |= {"state": "standby", "epoch": 0, "remaining_ms": 0, "ready": True, "healthy": True, "lag_ms": None}
    group |= {"containment": "pid-namespace", "enforce": True, "trouble": "", "blockers": []}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status_view({"site": "a", "cluster": "c", "version": "1", "groups": [group], "streams": []}))
    (row,) = (line for line in console.export_text().splitlines() if line.split()[:2] == ["g", "api"])
    assert row.split()[2:5] == ["unit", "exclusive", "cgroup"]


def test_only_what_needs_somebody_is_marked_in_the_status() -> None:
    group: dict[str, Any] = {"group": "g", "state": "standby", "epoch": 0, "remaining_ms": 0, "ready": False}
    group |= {"healthy": True, "lag_ms": None, "containment": "pid-namespace", "enforce": True, "trouble": ""}
    group |= {"blockers": ["probe disk: full"], "ladder": ["term", "kill"]}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status_view({"site": "a", "cluster": "c", "version": "1", "groups": [group], "streams": []}))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert "! g: probe disk: full" in lines
    assert "  g: is ended by term, kill" in lines


# -- in a runner --------------------------------------------------------------------------------------------


def world(directory: Path, component: Component) -> World:
    return World(directory, well, components=(component,))


async def test_a_proof_ends_what_runs(tmp_path: Path) -> None:
    body = Body("api.service runs")
    rig = world(tmp_path, body)
    assert await rig.done(rig.start(PlanKind.VERIFY_DOWN)) == (True, "nothing runs")
    assert body.ends == 1


async def test_what_cannot_be_ended_is_never_proven_down(tmp_path: Path) -> None:
    class Stubborn(Body):
        async def end(self) -> str:
            self.ends += 1
            return "no right"

    body = Stubborn("api.service runs")
    rig = world(tmp_path, body)
    ok, text = await rig.done(rig.start(PlanKind.VERIFY_DOWN, 500))
    assert not ok
    assert "api: api.service runs (no right)" in text
    assert body.ends > 1


async def test_what_is_started_on_a_dormant_site_makes_it_not_ready_and_is_ended(tmp_path: Path) -> None:
    body = Body("")
    rig = world(tmp_path, body)
    await rig.done(rig.start(PlanKind.VERIFY_DOWN))
    (scheduled,) = component_probes(G, (body,), (body.spec,), rig.runner)
    assert (await scheduled.probe.look()).passed
    body.up = "api.service runs: pids 12"
    seen = await scheduled.probe.look()
    assert (seen.passed, seen.detail) == (False, "api.service runs")
    await rig.until(lambda: body.ends == 1)
    assert (await scheduled.probe.look()).passed


async def test_nothing_is_judged_while_the_site_may_run(tmp_path: Path) -> None:
    body = Body("")
    rig = world(tmp_path, body)
    (scheduled,) = component_probes(G, (body,), (body.spec,), rig.runner)
    await rig.done(rig.start(PlanKind.VERIFY_DOWN))
    plan = rig.start(PlanKind.ACTIVATE)
    body.up = "api.service runs"
    assert (await scheduled.probe.look()).passed
    assert (await rig.done(plan))[0]
    assert (await scheduled.probe.look()).passed
    assert body.ends == 0


async def test_an_activation_waits_until_what_was_found_is_ended(tmp_path: Path) -> None:
    gate = asyncio.Event()

    class Slow(Body):
        async def end(self) -> str:
            await gate.wait()
            return await super().end()

    body = Slow("")
    rig = world(tmp_path, body)
    await rig.done(rig.start(PlanKind.VERIFY_DOWN))
    (scheduled,) = component_probes(G, (body,), (body.spec,), rig.runner)
    body.up = "api.service runs"
    await scheduled.probe.look()
    plan = rig.start(PlanKind.ACTIVATE)
    for _ in range(20):
        await asyncio.sleep(0)
    assert rig.runner.status()["plan"]["now"] == "waits for what was overtaken"  # type: ignore[index] - a plan runs
    gate.set()
    assert (await rig.done(plan))[0]
    assert body.ends == 1


async def test_a_fence_ends_components_before_it_is_proven(tmp_path: Path) -> None:
    body = Body("api.service runs")
    rig = world(tmp_path, body)
    rig.runner.fence(Fence(G, "its lease ran out"))
    await rig.until(lambda: rig.of("fenced") != [])
    assert rig.of("fenced") == [("fenced", True, "nothing runs")]
    assert body.ends == 1
