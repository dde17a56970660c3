"""Three witnesses, a site of two hosts (lead and member) and a site of one, each host in a network of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from memberrig.member_hosts import Hosts

from witness.pki.store import create_ca, issue

GROUP = "shop"
TWO_HOSTS, ONE_HOST = "dc-a", "dc-b"
WITNESSES = ("w1", "w2", "w3")
PARTS = {"lead": "app-a", "member": "db-a", "other": "app-b"}
"""What runs on which host of a site, by the name of its file of stamps."""
WAIT_S = 90.0
CTL_S = 30.0

STAMPER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    os.write(fd, b"%d\\n" % time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    time.sleep(0.002)
"""


class Missing(Exception):
    """What was expected did not come in time; the text says what."""


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wait_for(condition: Callable[[], object], what: str, limit_s: float = WAIT_S) -> None:
    ends = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends:
            raise Missing(f"{what}: not within {limit_s:g} s")
        time.sleep(0.02)


class World:
    def __init__(self, ttl_ms: int) -> None:
        self.ttl_ms = ttl_ms
        self.root = Path(tempfile.mkdtemp(prefix="thirdsite-members-"))
        self.hosts = Hosts(("witnesses", "lead", "member", "other"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.pki = self.root / "pki"
        self.cluster = str(create_ca(self.pki).cluster_id)
        self._issue()
        self._write_witnesses()
        self._write_sites()

    # -- files ----------------------------------------------------------------------------------------------

    def _issue(self) -> None:
        for name in WITNESSES:
            issue(self.pki, "witness", name, hosts=[self.hosts.address("witnesses")])
        for site in (TWO_HOSTS, ONE_HOST):
            issue(self.pki, "agent", site, groups=[GROUP])
        issue(self.pki, "member", f"db1.{TWO_HOSTS}", groups=[GROUP])
        issue(self.pki, "operator", "ann", role="admin")

    def _tls(self, directory: str) -> dict[str, str]:
        where = self.pki / directory
        return {part: str(where / f"{part}.pem") for part in ("ca", "cert", "key")}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        (self.root / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def _api(self, number: int) -> str:
        return f"{self.hosts.address('witnesses')}:{7_410 + number}"

    def _write_witnesses(self) -> None:
        peers = [{"id": name, "address": f"127.0.0.1:{7_510 + i}"} for i, name in enumerate(WITNESSES)]
        for i, name in enumerate(WITNESSES):
            self._write(
                name,
                {
                    "cluster": self.cluster,
                    "witness": name,
                    "data_dir": str(self.root / name),
                    "listen": self._api(i),
                    "peers": peers,
                    "tls": self._tls(f"witness-{name}"),
                    "metrics": {"listen": f"127.0.0.1:{7_610 + i}"},
                },
            )
        apis = [self._api(i) for i in range(len(WITNESSES))]
        self._write("ctl", {"witnesses": apis, **self._tls("operator-ann")})
        self._write(
            "groups",
            {
                "groups": [
                    {
                        "group": GROUP,
                        "sites": [TWO_HOSTS, ONE_HOST],
                        "ttl": f"{self.ttl_ms}ms",
                        "unhealthy_for": "1s",
                        "cooldown": "0ms",
                        "moves_max": 100,
                    }
                ]
            },
        )

    def _write_sites(self) -> None:
        self._write("lead", self._site(TWO_HOSTS, "lead", [{"name": "start-db", "member": "db1", "timeout": "10s"}]))
        self._write("other", self._site(ONE_HOST, "other", []))
        self._write(
            "member",
            {
                "cluster": self.cluster,
                "site": TWO_HOSTS,
                "member": "db1",
                "lead": f"{self.hosts.address('lead')}:7420",
                "tls": self._tls(f"member-db1.{TWO_HOSTS}"),
                **self._places("member"),
                "groups": [{"group": GROUP, "steps": [{**self._start("member"), "name": "start-db"}]}],
            },
        )

    def _places(self, host: str) -> dict[str, str]:
        return {"state_dir": str(self.root / host / "state"), "runtime_dir": str(self.root / host / "run")}

    def _start(self, host: str) -> dict[str, Any]:
        line = '"$0" -I -S -c "$1" "$2" &'
        return {"name": "start", "command": ["/bin/sh", "-c", line, sys.executable, STAMPER, str(self.stamps(host))]}

    def _site(self, site: str, host: str, first: list[dict[str, Any]]) -> dict[str, Any]:
        witnesses = [{"id": name, "address": self._api(i)} for i, name in enumerate(WITNESSES)]
        data = {"name": "data", "role": "data", "kind": "exec", "command": ["/bin/true"], "rise": 1, "fall": 1}
        content: dict[str, Any] = {
            "cluster": self.cluster,
            "site": site,
            "tls": self._tls(f"agent-{site}"),
            **self._places(host),
            "witnesses": witnesses,
            "groups": [
                {
                    "group": GROUP,
                    "activation": {"timeout": "40s", "steps": [*first, self._start(host)]},
                    "deactivation": {"timeout": "30s"},
                    "probes": [data],
                }
            ],
        }
        if first:
            content["members_listen"] = f"{self.hosts.address(host)}:7420"
            content["members"] = [{"name": "db1", "groups": [GROUP]}]
        return content

    # -- processes ------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        if name in WITNESSES:
            host, argv = "witnesses", ("-m", "witness", "run")
        else:
            host, argv = name, ("-m", "agents", "member" if name == "member" else "run")
        command, fds = self.hosts.command(host, sys.executable, *argv, "-c", str(self.root / f"{name}.yaml"))
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True
            )

    def signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        """The process alone: its guard, and what that holds, live on."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(WAIT_S)

    def kill_host(self, name: str) -> None:
        """As a host that loses its power: the process, its guard, and so what that holds."""
        guard = json.loads(self._record(name).read_text())["guard_pid"]
        self.kill(name)
        os.kill(guard, signal.SIGKILL)

    def _record(self, host: str) -> Path:
        (found,) = (self.root / host / "run").glob(f"{GROUP}.guard")
        return found

    def part_and_hand_over(self) -> None:
        self.hosts.cut("lead", "member")
        self.ctl("switchover", GROUP, "--to", ONE_HOST, "--reason", "while its member is not heard")

    def close(self, *, keep: bool) -> None:
        """What is left lives under guards, which end at their deadlines; then there is nothing."""
        for name in list(self.processes):
            self.signal(name, signal.SIGCONT)
            self.kill(name)
        wait_for(lambda: not any(self.lives(host) for host in PARTS), "everything that was started is dead", 60)
        self.hosts.close()
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)

    # -- looks ----------------------------------------------------------------------------------------------

    def stamps(self, host: str) -> Path:
        return self.root / f"{PARTS[host]}.stamps"

    def signs(self, host: str) -> list[int]:
        path = self.stamps(host)
        return [int(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    def last_sign(self, host: str) -> int:
        """0 when there was none."""
        path = self.stamps(host)
        if not path.exists():
            return 0
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200))
            lines = file.read().split(b"\n")[1:-1]
        return int(lines[-1]) if lines else 0

    def lives(self, host: str) -> bool:
        """It gave a sign within the last 300 ms."""
        return now_ns() - self.last_sign(host) < 300_000_000

    def ctl(self, *argv: str) -> tuple[int, Any]:
        """Exit code and the last line of --json."""
        config = str(self.root / "ctl.yaml")
        command = (sys.executable, "-m", "witness.ctl", *argv, "--json", "--config", config)
        done = self.hosts.run("witnesses", *command, timeout=CTL_S)
        lines = done.stdout.splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else None

    # -- the way there --------------------------------------------------------------------------------------

    def begin(self) -> None:
        for name in WITNESSES:
            subprocess.run(
                [sys.executable, "-m", "witness", "init", "-c", str(self.root / f"{name}.yaml")],
                check=True,
                capture_output=True,
            )
        for name in (*WITNESSES, "lead", "member", "other"):
            self.start(name)
        wait_for(lambda: self.ctl("apply", "-f", str(self.root / "groups.yaml"))[0] == 0, "the group is configured")

    def both_hosts_active(self) -> None:
        """The site of two hosts is active, whole, and the other one stands by."""
        for name in ("lead", "member", "other"):
            if name not in self.processes:
                self.start(name)

        def there() -> bool:
            if self.lives("lead") and self.lives("member") and not self.lives("other"):
                return True
            if self.lives("other"):
                self.ctl("switchover", GROUP, "--to", TWO_HOSTS, "--reason", "the next trial")
            return False

        wait_for(there, "the site of two hosts is active")
