"""A lead and a member as real processes beside a scripted witness; what runs on each stamps its life on BOOTTIME."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from agent_process import SITE_AGENT, World, start
from free_ports import free_ports
from guard_world import VICTIM, stamps

from proto.health import SiteState
from witness.pki.store import issue

UNTIL_S = 60.0
DB, APP = "db.stamps", "app.stamps"


def add_member(pki: Path) -> Path:
    issue(pki, "member", "db1.dc-a", groups=["shop"])
    issue(pki, "member", "db1.dc-b", groups=["shop"])
    return pki


class SiteWorld(World):
    """The lead is the agent of `World`; `member_config` is of its one member, db1."""

    def __init__(self, tmp_path: Path, pki: Path) -> None:
        super().__init__(tmp_path, pki)
        (self.port,) = free_ports(1)
        self.lead_address = f"127.0.0.1:{self.port}"
        self.member_config = tmp_path / "member.yaml"
        self.member_state = tmp_path / "db1"

    @property
    def db(self) -> Path:
        return self.dir / DB

    @property
    def app(self) -> Path:
        return self.dir / APP

    def write_site(self, *, required: bool = True, steps: str = "", deactivation: str = "") -> None:
        """`steps` come between the member's step and the lead's own."""
        self.write_config(
            activation=f"{{name: start-db, member: db1, timeout: 5s}}, {steps}{self.victim_step('start-app', APP)}"
        )
        text = self.config.read_text()
        text += f"    deactivation: {{timeout: 20s, steps: [{deactivation}]}}\n"
        text += f'members_listen: "{self.lead_address}"\n'
        text += f"members: [{{name: db1, groups: [shop], required: {str(required).lower()}}}]\n"
        self.config.write_text(text)

    def victim_step(self, name: str, file: str, *, undo: str = "") -> str:
        line = '"$0" -I -S -c "$1" "$2" & echo "$THIRDSITE_EPOCH" >> "$2.epochs"'
        argv = ["/bin/sh", "-c", line, SITE_AGENT[0], VICTIM, str(self.dir / file)]
        taken_back = f", undo: {json.dumps(['/bin/sh', '-c', undo])}" if undo else ""
        return f"{{name: {name}, command: {json.dumps(argv)}{taken_back}}}"

    def write_member(self, *, cert: str = "db1.dc-a", steps: str = "") -> None:
        where = self.pki / f"member-{cert}"
        self.member_config.write_text(f"""
cluster: {self.cluster}
site: dc-a
member: db1
lead: "{self.lead_address}"
tls: {{ca: {where}/ca.pem, cert: {where}/cert.pem, key: {where}/key.pem}}
state_dir: {self.member_state}/state
runtime_dir: {self.member_state}/run
log: {{format: json}}
groups:
  - group: shop
    steps: [{steps or self.victim_step("start-db", DB, undo=f"echo $THIRDSITE_EPOCH >> {self.dir}/undone")}]
""")

    @contextlib.asynccontextmanager
    async def member(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        with (self.dir / "member.log").open("ab") as log:
            process = start(*SITE_AGENT, "member", "-c", str(self.member_config), log=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def member_log(self) -> str:
        path = self.dir / "member.log"
        return path.read_text() if path.exists() else ""

    async def member_status(self) -> dict[str, Any]:
        done = await self.cli("status", "--socket", str(self.member_state / "run" / "status.sock"), "--json")
        assert done.returncode == 0, done.stderr
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    async def until(self, condition: Callable[[], object]) -> None:
        """With both logs when it does not come."""
        ends = time.monotonic() + UNTIL_S
        while not condition():
            if time.monotonic() > ends:
                pytest.fail(f"blockers: {self.blockers()}\n{self.log()[-6000:]}\n{self.member_log()[-6000:]}")
            await asyncio.sleep(0.02)

    async def active(self, epoch: int) -> None:
        await self.until(lambda: self.ready)
        self.lease.grant(epoch)
        await self.until(lambda: self.lease.state is SiteState.ACTIVE)
        await self.until(lambda: lives(self.db) and lives(self.app))

    @property
    def ready(self) -> bool:
        reports = self.lease.reports
        return bool(reports) and reports[-1].state in (SiteState.STANDBY, SiteState.FENCED) and reports[-1].ready

    def blockers(self) -> str:
        return "; ".join(self.lease.reports[-1].blockers) if self.lease.reports else ""


def lives(path: Path) -> bool:
    return len(stamps(path)) >= 3
