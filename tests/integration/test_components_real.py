"""Components as they are: processes in a control group, an engine on its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from guard_world import until

from agents.components.container import ContainerComponent
from agents.components.spec import ComponentKind, ComponentSpec
from agents.components.unit import UnitComponent
from agents.fencing import exec_entry

pytestmark = pytest.mark.process


def unit(*, under_exec: bool = False) -> ComponentSpec:
    return ComponentSpec("api", ComponentKind.UNIT, under_exec=under_exec, unit="api.service")


async def sleeper() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec("sleep", "60")


async def test_an_end_kills_all_but_the_guards(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "api.service"
    group.mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text("")
    argv = exec_entry.exec_guard_argv(["--group", "g", "--socket", str(tmp_path / "s"), "--wait", "60", "--", "true"])
    victim, guard = await sleeper(), await asyncio.create_subprocess_exec(*argv)
    (group / "cgroup.procs").write_text(f"{guard.pid}\n{victim.pid}\n")
    component = UnitComponent(unit(under_exec=True), tmp_path)
    assert component.processes() == (victim.pid,)
    assert await component.end() == ""
    assert await asyncio.wait_for(victim.wait(), 10) == -9
    assert guard.returncode is None
    assert not (group / "cgroup.kill").exists()
    guard.kill()
    await guard.wait()


@pytest.fixture
def unified() -> Iterator[Path]:
    """A control group of the kernel's, to stand for the root of the hierarchy."""
    places = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
    base = next((one for one in places if (one / "cgroup.procs").is_file()), None)
    if base is None or os.geteuid() != 0:
        pytest.skip("needs root and a unified control group hierarchy")
    root = base / f"thirdsite-test-{os.getpid()}"
    group = root / "system.slice" / "api.service"
    try:
        group.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    yield root
    for place in (group, group.parent, root):
        with contextlib.suppress(FileNotFoundError):
            place.rmdir()


@pytest.mark.root
async def test_the_kernel_empties_a_units_control_group(unified: Path) -> None:
    component = UnitComponent(unit(), unified)
    assert await component.still_up() == ""
    script = "trap '' TERM; (trap '' TERM; sleep 60) & kill -STOP $$; sleep 60"
    argv = ("setsid", "sh", "-c", f"read go; {script}")
    shell = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
    (unified / "system.slice/api.service/cgroup.procs").write_text(str(shell.pid))
    assert shell.stdin is not None
    shell.stdin.write(b"go\n")
    await shell.stdin.drain()
    await until(lambda: len(component.processes()) >= 2, "both run")
    assert str(shell.pid) in await component.still_up()
    assert await component.end() == ""
    assert await asyncio.wait_for(shell.wait(), 10) == -9
    await until(lambda: not component.processes(), "nothing is left")


class Engine:
    """Answers as an engine does, for one container."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.state: dict[str, object] = {"Status": "exited", "Running": False}
        self.entry = ("java", "-jar", "sms.jar")
        self.kills: list[str] = []
        self.fails = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/containers/{name}/json", self._inspect)
        app.router.add_post("/containers/{name}/kill", self._kill)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _inspect(self, request: web.Request) -> web.Response:
        if self.fails:
            return web.Response(status=500, text="no")
        if request.match_info["name"] != "sms":
            return web.json_response({"message": "No such container"}, status=404)
        body = {"Id": "f" * 64, "State": self.state, "Path": self.entry[0], "Args": list(self.entry[1:])}
        return web.Response(body=json.dumps(body), content_type="application/json")

    async def _kill(self, request: web.Request) -> web.Response:
        self.kills.append(request.query["signal"])
        self.state = {**self.state, "Running": False, "Status": "exited"}
        return web.Response(status=204)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    made = Engine(tmp_path / "engine.sock")
    await made.start()
    yield made
    await made.close()


def container(engine: Engine, name: str = "sms", *, under_exec: bool = False) -> ContainerComponent:
    spec = ComponentSpec(
        "sms",
        ComponentKind.CONTAINER,
        under_exec=under_exec,
        container=name,
        engine=engine.socket,
        timeout_ms=2_000,
    )
    return ContainerComponent(spec)


async def test_the_engine_is_believed_only_when_it_answers(engine: Engine) -> None:
    assert await container(engine).still_up() == ""
    assert await container(engine, "nobody").still_up() == ""
    for word, status in (("Running", "running"), ("Paused", "paused"), ("Restarting", "restarting")):
        engine.state = {"Status": status, word: True}
        assert await container(engine).still_up() == f"container sms is {status}"
    engine.fails = True
    assert "cannot tell" in await container(engine).still_up()
    await engine.close()
    assert "cannot tell" in await container(engine).still_up()


async def test_a_container_is_killed_through_its_engine(engine: Engine) -> None:
    engine.state = {"Status": "running", "Running": True, "Pid": os.getpid()}  # not in a group of that container
    assert await container(engine).end() == ""
    assert engine.kills == ["KILL"]
    assert await container(engine).still_up() == ""
    assert await container(engine).end() == ""
    assert engine.kills == ["KILL"]


async def test_a_wrapped_container_may_wait_for_the_lease(engine: Engine) -> None:
    engine.state = {"Status": "running", "Running": True}
    assert "is not `site-agent exec`" in await container(engine, under_exec=True).still_up()
    engine.entry = ("/usr/local/bin/site-agent", "exec", "--group", "g", "--", "java")
    assert await container(engine, under_exec=True).still_up() == ""
    assert "running" in await container(engine).still_up()
