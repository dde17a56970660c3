"""The product's world: three witnesses, two sites of a lead and a member each, an operator, all as shipped."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from chaosrig.chaos_ground import START_S, Active, Ground, Lease, Missing, wait_for
from chaosrig.chaos_layout import HOSTS, OPERATOR, SITES, WITNESSES, Addresses, Layout
from chaosrig.chaos_looks import Json, Looks, record_of
from chaosrig.chaos_net import Net

from agents.fencing.kernel_calls import check, library
from proto.lease import LeaseConstants, witness_wait
from proto.timing import renew_interval_ms
from proto.units import NS_PER_MS

COMMAND_S = 40.0
EVENTS_MAX = 1_000
WITNESS_DISK = "1g"
"""More than a witness wants to see free; little of it is ever used."""
DORMANT = ("standby", "fenced")
VOTER = "voter"
MS_REMOUNT, MS_RDONLY, MNT_DETACH = 32, 1, 2
ALMOST_FULL = "1"


class World(Ground):
    """Owned by the run. `end` leaves no process, group or mount; the layout's directory is the caller's."""

    def __init__(self, ttl_ms: int, programs: Path) -> None:
        net = Net(HOSTS)
        self.layout = Layout(ttl_ms, Addresses({name: net.address(name) for name in HOSTS}))
        super().__init__(net, self.layout.root, ttl_ms, SITES, WITNESSES)
        self.programs = programs
        self.looks = Looks(self.layout, net)
        for name in WITNESSES:
            self._mount_disk(name)
            self._service(name, "witness", "run")
        for lead, member in SITES.values():
            self._service(lead, "site-agent", "run")
            self._service(member, "site-agent", "member")

    def _service(self, host: str, program: str, verb: str) -> None:
        command = (str(self.programs / program), verb, "-c", str(self.layout.config(host)))
        self.units.add(host, self.hosts[host], command, self.log(host))

    # -- small disks ----------------------------------------------------------------------------------------

    def _mount_disk(self, witness: str) -> None:
        """One of its own, that can be filled."""
        path = self.layout.data(witness)
        words = [b"tmpfs", str(path).encode(), b"tmpfs", 0, f"size={WITNESS_DISK}".encode()]
        check(library().mount(*words), f"mount {path}")

    def remount(self, witness: str, *, size: str = WITNESS_DISK, read_only: bool = False) -> None:
        """Its disk as large as that; ALMOST_FULL is what is on it and one block."""
        path = self.layout.data(witness)
        used = os.statvfs(path)
        if size == ALMOST_FULL:
            size = str((used.f_blocks - used.f_bfree + 1) * used.f_frsize)
        flags = MS_REMOUNT | (MS_RDONLY if read_only else 0)
        options = f"size={size}".encode()
        check(library().mount(b"tmpfs", str(path).encode(), b"tmpfs", flags, options), f"remount {path}")

    # -- beginning and end ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Returns with one site active and the other ready."""
        self.start_referee()
        for name in WITNESSES:
            self.run(name, "witness", "init", "-c", str(self.layout.config(name)))
        for unit in self.units.all.values():
            self.units.start(unit)
        wait_for(self, self.leader, "the witnesses elect a leader", START_S)
        self.operator("apply", "--file", str(self.layout.groups))
        self.settled(START_S)

    def end(self) -> None:
        super().end()
        for name in WITNESSES:
            library().umount2(str(self.layout.data(name)).encode(), MNT_DETACH)

    # -- programs -------------------------------------------------------------------------------------------

    def start_command(self, host: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = (str(self.programs / program), *arguments)
        return self.units.popen(self.hosts[host], command, subprocess.PIPE)

    def run(self, host: str, program: str, *arguments: str) -> tuple[int, str]:
        """A short command to its end: exit code and what it said."""
        process = self.start_command(host, program, *arguments)
        try:
            said, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            return -1, f"{program} {' '.join(arguments)} did not end within {COMMAND_S:g} s"
        return process.returncode, said.decode(errors="replace").strip()

    def operator(self, *arguments: str, must: bool = True) -> int:
        """witnessctl on the operator's host."""
        code, said = self.run(OPERATOR, "witnessctl", *arguments, "--config", str(self.layout.config(OPERATOR)))
        if must and code != 0:
            raise Missing(f"witnessctl {' '.join(arguments)}: exit code {code}: {said}")
        return code

    # -- looks ----------------------------------------------------------------------------------------------

    def leader(self) -> str | None:
        return self.looks.leader()

    def look(self) -> Active | None:
        idle = [name for name, unit in self.units.all.items() if not unit.pid]
        idle += [site for site in SITES if self.looks.agent(site) is None]
        if idle:
            return self.not_yet(f"{', '.join(idle)} do not run, or do not answer")
        for name in WITNESSES:
            status = self.looks.witness(name)
            if status is None or not status["has_quorum"] or not status["caught_up"] or status["standing"] != VOTER:
                return self.not_yet(f"{name}: {status if status is None else _standing(status)}")
        group = self.looks.group(WITNESSES[0])
        return self.not_yet("no word about the group") if group is None else self._look_at(group)

    def _look_at(self, group: Json) -> Active | None:
        sites: dict[str, Json] = {one["site"]: one for one in group["sites"]}
        active = [name for name, one in sites.items() if one["state"] == "active"]
        if len(active) != 1 or group["holder"] != active[0] or group["successor"]:
            return self.not_yet(f"active: {active}, holder {group['holder']}")
        if any(one["heard_ms_ago"] is None or one["heard_ms_ago"] > self.ttl_ms for one in sites.values()):
            return self.not_yet(f"heard: { {name: one['heard_ms_ago'] for name, one in sites.items()} } ms ago")
        other = sites[self.other(active[0])]
        if other["state"] not in DORMANT or not other["ready"] or other["quarantine"]:
            return self.not_yet(f"{other['site']}: {other['state']}, {other['blockers']}, {other['quarantine']}")
        alive = [one for one in self.referee().seen if one.gone_ns is None and one.role == "daemon"]
        lives = [(one.site, one.epoch) for one in alive]
        if len(lives) != len(SITES[active[0]]) or {site for site, _ in lives} != set(active) or len(set(lives)) != 1:
            return self.not_yet(f"the referee sees {lives}, and {active[0]} should be active")
        return Active(active[0], group["epoch"], lives[0][1])

    def epoch(self) -> int:
        """The newest that any witness has applied."""
        seen = [self.looks.group(name) for name in WITNESSES]
        return max((one["epoch"] for one in seen if one is not None), default=0)

    def lease(self) -> Lease | None:
        leader = self.looks.leader()
        asked = time.monotonic()
        group = None if leader is None else self.looks.group(leader)
        if group is None or group["lease_left_ms"] is None:
            return None
        full_ms = witness_wait(LeaseConstants(**group["constants"])) / NS_PER_MS
        waited_ms = (time.monotonic() - asked) * 1_000  # as if it had looked when asked
        return Lease(full_ms - float(group["lease_left_ms"]) + waited_ms, full_ms, renew_interval_ms(self.ttl_ms))

    def keep_evidence(self) -> None:
        """The ledger, as each witness that answers has it."""
        for name in WITNESSES:
            events = self.looks.witness(name, f"/v1/events?limit={EVENTS_MAX}")
            if events is not None:
                (self.root / f"events-{name}.json").write_text(json.dumps(events, indent=1), encoding="utf-8")

    def guard_pid(self, host: str) -> int:
        """0 without one."""
        pid = int(record_of(self.layout, host).get("guard_pid", 0))
        return pid if pid in self.hosts[host].group.pids() else 0

    def manner(self, site: str, *words: str) -> None:
        """How the next platform of that site resists."""
        for host in SITES[site]:
            (self.layout.data(host) / "manner").write_text(" ".join(words), encoding="ascii")

    def replace_witness(self, name: str) -> None:
        """What the page for operators says: stopped, readmitted, started."""
        unit = self.unit(name)
        self.units.kill(unit)
        code, said = self.run(name, "witness", "readmit", "-c", str(self.layout.config(name)), "--yes", name)
        if code != 0:
            raise Missing(f"witness readmit of {name}: exit code {code}: {said}")
        self.units.start(unit)


def _standing(status: Json) -> Json:
    return {name: status[name] for name in ("has_quorum", "caught_up", "standing", "leader", "unconnected")}
