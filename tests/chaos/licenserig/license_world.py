"""A run's world: three witnesses, two Navixy sites with databases, the vendor, an operator who is told, each a host."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosrig.chaos_cgroup import HostGroup, cgroup2_mount
from chaosrig.chaos_edge import Edge
from chaosrig.chaos_ground import START_S, Ground, Missing, wait_for
from chaosrig.chaos_layout import Addresses
from chaosrig.chaos_looks import Json, Looks
from chaosrig.chaos_net import Net
from chaosrig.chaos_units import Host, Units
from licenserig import license_receivers, license_vendor
from licenserig.license_databases import SiteServer
from licenserig.license_layout import (
    HOSTS,
    OPERATOR,
    RECEIVERS,
    SERVICE_PORTS,
    SESSIONS_PORT,
    SITES,
    VENDOR,
    VENDOR_PORT,
    WITNESSES,
    Layout,
    other_site,
)
from licenserig.license_record import Record, read_record

from agents.local.client import AgentUnreachable, agent_status

FIRST_KEY = "key-1"
COMMAND_S = 60.0
SETTLE_S = 180.0
DORMANT = ("standby", "fenced")


@dataclass(frozen=True, slots=True)
class Settled:
    """One site is active and well, the other one is fit to take over with the newest key."""

    site: str
    epoch: int


class World:
    """Owned by the run. `end` leaves no process, group or mount; the directory is the caller's."""

    def __init__(self, ttl_ms: int, programs: Path, *, escrow: bool = True) -> None:
        self.ttl_ms = ttl_ms
        self.escrow = escrow
        self.programs = programs
        self.net = Net(HOSTS)
        addresses = Addresses({name: self.net.address(name) for name in HOSTS})
        self.layout = Layout(ttl_ms, addresses, escrow=escrow)
        self.root = self.layout.root
        mount = cgroup2_mount(self.root / "cgroup2")
        self.hosts = {
            name: Host(name, HostGroup(self.root.name, name, mount), Edge(self.root / name / "edge")) for name in HOSTS
        }
        self.units = Units(self.net, None)
        self.looks = Looks(self.layout, self.net)
        self.servers = {
            site: SiteServer(self.root / host / "db", number, self.hosts[host], self.units, SITES[other_site(site)])
            for number, (site, host) in enumerate(SITES.items(), 1)
        }
        self.layout.write_sites(self.servers)
        for name in WITNESSES:
            self._service(name, "witness")
        for host in SITES.values():
            self._service(host, "site-agent")
        self.seen = "nothing yet"
        """What stood against the last look for calm."""

    def _service(self, host: str, program: str) -> None:
        command = (str(self.programs / program), "run", "-c", str(self.layout.config(host)))
        self.units.add(host, self.hosts[host], command, self.layout.log(host))

    # -- beginning and end --------------------------------------------------------------------------------------

    def begin(self) -> Settled:
        """Returns when one site is active and the other one fit."""
        where = self.net.address(VENDOR)
        self._helper(VENDOR, license_vendor, where, VENDOR_PORT, SESSIONS_PORT, self.layout.vendor_record, FIRST_KEY)
        self._helper(
            OPERATOR, license_receivers, self.net.address(OPERATOR), self.layout.told_record, *RECEIVERS.values()
        )
        for server in self.servers.values():
            server.seed()
            server.start()
        for server in self.servers.values():  # both read-only: nobody writes, whoever is granted is fit
            code, said = server.db("follow")
            if code != 0:
                raise Missing(f"follow: {said}")
        for name in WITNESSES:
            self.run(name, "witness", "init", "-c", str(self.layout.config(name)))
            self.units.start(self.units.all[name])
        wait_for(self, self.looks.leader, "the witnesses elect a leader", START_S)
        command = ("apply", "-f", str(self.layout.groups), "--reason", "the run begins")
        wait_for(self, lambda: self.operator(*command)[0] == 0, "the group is configured", START_S)
        for host in SITES.values():
            code, _, wrong = self.run(host, "site-agent", "check", "-c", str(self.layout.config(host)))
            if code != 0:
                raise Missing(f"the configuration of {host}: {wrong}")
            self.units.start(self.units.all[host])
        return self.settled()

    def _helper(self, host: str, program: Any, *arguments: object) -> None:
        command = [sys.executable, program.__file__, *map(str, arguments)]
        with self.layout.log(host).open("ab") as log:
            self.units.helpers.append(self.units.popen(self.hosts[host], command, log.fileno()))

    def end(self) -> None:
        self.units.end()
        for host in self.hosts.values():
            host.group.kill()
        Ground.reap()
        for host in self.hosts.values():
            host.group.remove()
        self.net.close()

    def tend(self) -> None:
        self.units.tend()

    # -- programs -----------------------------------------------------------------------------------------------

    def run(self, host: str, program: str, *arguments: str) -> tuple[int, str, str]:
        """A short command to its end: exit code, what it said, and what it complained of."""
        enter, fd = self.net.enter(host)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [*enter, str(self.programs / program), *arguments],
            pass_fds=(fd,), env=environment, capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def operator(self, *arguments: str) -> tuple[int, str, str]:
        """witnessctl on the operator's host."""
        return self.run(OPERATOR, "witnessctl", *arguments, "--config", str(self.layout.config(OPERATOR)))

    # -- looks --------------------------------------------------------------------------------------------------

    def record(self) -> Record:
        with self.layout.vendor_record.open(encoding="utf-8") as lines:
            return read_record(lines)

    def agent(self, site: str) -> Json:
        """Its own word about the group; {} while it does not answer."""
        with contextlib.suppress(AgentUnreachable):
            (group,) = agent_status(self.layout.run_dir(site) / "status.sock")["groups"]
            return dict(group)
        return {}

    def held(self, site: str) -> str:
        """The newest version that the site has and can open, by its own word."""
        (one,) = self.agent(site).get("licenses") or ({"held": ""},)
        return str(one["held"])

    def group(self) -> Json | None:
        for name in WITNESSES:
            found = self.looks.group(name) if self.units.all[name].pid else None
            if found is not None:
                return found
        return None

    def events(self, after: int) -> list[Json]:
        """Entries of the ledger behind that one, of one witness."""
        for name in WITNESSES:
            page = self.looks.witness(name, f"/v1/events?after={after}&limit=1000")
            if page is not None:
                return list(page["events"])
        return []

    def head(self) -> int:
        """The newest entry of the ledger."""
        status = wait_for(self, lambda: self.looks.witness(self._running()), "a witness answers", START_S)
        return int(status["events"])

    def _running(self) -> str:
        return next(name for name in WITNESSES if self.units.all[name].pid)

    def answers(self, site: str) -> bool:
        """All services of the platform take connections there."""
        with contextlib.suppress(OSError), self._inside(site):
            for port in SERVICE_PORTS.values():
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    @contextlib.contextmanager
    def _inside(self, site: str) -> Iterator[None]:
        with self.net.inside(SITES[site]):
            yield

    def checked(self, site: str) -> str:
        """'' when the product's own check, on that site, finds the platform up; else what it says."""
        with self._inside(site):
            command = self.layout.check(site)
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip()

    # -- calm ---------------------------------------------------------------------------------------------------

    def settled(self, seconds: float = SETTLE_S) -> Settled:
        try:
            return wait_for(self, self._look, "one site is active and well, the other one fit", seconds)
        except Missing as missing:
            raise Missing(f"{missing}; last: {self.seen}") from None

    def _look(self) -> Settled | None:
        """None, and `seen`, while something stands against it."""
        idle = [name for name, unit in self.units.all.items() if not unit.pid]
        if idle:
            return self._not_yet(f"{', '.join(idle)} do not run")
        for name in WITNESSES:
            status = self.looks.witness(name)
            if status is None or not (status["has_quorum"] and status["caught_up"] and status["standing"] == "voter"):
                return self._not_yet(f"{name} is not well")
        group = self.looks.group(WITNESSES[0])
        return self._not_yet("no word about the group") if group is None else self._look_at(group)

    def _look_at(self, group: Json) -> Settled | None:
        sites: dict[str, Json] = {one["site"]: one for one in group["sites"]}
        active = [name for name, one in sites.items() if one["state"] == "active"]
        if len(active) != 1 or group["holder"] != active[0] or group["successor"]:
            return self._not_yet(f"active: {active}, holder {group['holder']}, successor {group['successor']}")
        (site,) = active
        other = sites[other_site(site)]
        if other["state"] not in DORMANT or not other["ready"] or other["quarantine"] or other["blockers"]:
            return self._not_yet(f"{other['site']}: {other['state']}, {other['blockers']}, {other['quarantine']}")
        if other["lag_ms"] is None or any(one["heard_ms_ago"] is None for one in sites.values()):
            return self._not_yet("a lag is not known, or a site is not heard")
        if any(one["heard_ms_ago"] > self.ttl_ms for one in sites.values()) or other["promising"]:
            return self._not_yet("a site is not heard, or a promise is outstanding")
        why = self._license_trouble(group, site) or self._platform_trouble(site)
        return self._not_yet(why) if why else Settled(site, group["epoch"])

    def _license_trouble(self, group: Json, active: str) -> str:
        if not self.escrow:
            return ""
        (one,) = group["licenses"]
        for site in one["sites"]:
            if not site["current"] or site["problem"] or site["held"] != one["newest"]:
                return f"license: {site}"
            if site["activated"] is not (site["site"] == active):
                return f"license: {site['site']} activated: {site['activated']}"
        return "" if one["stored"] == one["newest"] else "the witnesses have not stored the newest key"

    def _platform_trouble(self, active: str) -> str:
        record = self.record()
        if record.active() != [active] or len(record.open[active]) != len(SERVICE_PORTS):
            return f"the vendor sees {record.open}"
        if not self.answers(active):
            return "the platform does not answer"
        for site, server in self.servers.items():
            if (server.sql("SELECT @@global.read_only") == "0") is not (site == active):
                return f"the database of {site} has the other's role"
            if server.key() != record.key:
                return f"the database of {site} has not the newest key"
        code, said = self.servers[other_site(active)].db("follows")
        return "" if code == 0 else said

    def _not_yet(self, why: str) -> None:
        self.seen = why

    # -- what goes on -------------------------------------------------------------------------------------------

    def exchange(self, site: str) -> None:
        """The platform exchanges its key with the vendor, and then its row has the new one."""
        before = self.record().exchanges
        (self.layout.platform(site) / "exchange").touch()
        self.until(lambda: self.record().exchanges == before + 1, "the key was exchanged")
        self.until(lambda: self.servers[site].key() == self.record().key, "the row has the new key")

    def until(self, condition: Callable[[], object], what: str, seconds: float = START_S) -> None:
        wait_for(self, lambda: bool(condition()), what, seconds)

    def noted_in_place(self, site: str) -> bool:
        """Its watcher has seen the newest key in its replica: it will know what follows there."""
        code, said, _ = self.run(SITES[site], "site-agent", "license", "status", "-c", self._config(site), "--json")
        if code != 0:
            return False
        (row,) = json.loads(said)["licenses"]
        return bool(row["seen"] == row["newest"] == self.held(site))

    def _config(self, site: str) -> str:
        return str(self.layout.config(SITES[site]))

    def keep_evidence(self) -> None:
        events = self.events(0)
        (self.root / "events.json").write_text(json.dumps(events, indent=1), encoding="utf-8")
        group = self.group()
        (self.root / "group.json").write_text(json.dumps(group, indent=1), encoding="utf-8")
