"""The comparison's world: three members of etcd where the witnesses are, and a site's host that holds its lock."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from chaosrig import chaos_etcd_holder
from chaosrig.chaos_ground import START_S, Active, Ground, Lease, wait_for
from chaosrig.chaos_net import Net
from chaosrig.chaos_renewals import Listener
from fencerig import fenced_platform

SITES = {"site-a": ("a1",), "site-b": ("b1",)}
WITNESSES = ("w1", "w2", "w3")
HOSTS = (*WITNESSES, "a1", "b1")
CLIENT, PEER, PLATFORM = 2379, 2380, 8080
LOOK_S = 1.0
QUICK_TTL_MS = 3_000
QUICK = ("--heartbeat-interval", "50", "--election-timeout", "250")
"""Below that ttl: with its own timers etcd grants no lease shorter than two seconds."""


def missing() -> str:
    absent = [name for name in ("etcd", "etcdctl") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed (Debian: etcd-server, etcd-client)" if absent else ""


class EtcdWorld(Ground):
    def __init__(self, ttl_ms: int) -> None:
        root = Path(tempfile.mkdtemp(prefix="thirdsite-chaos-etcd-", dir="/tmp"))
        super().__init__(Net(HOSTS), root, ttl_ms, SITES, WITNESSES)
        self._heard: dict[str, Listener] = {}
        endpoints = ",".join(f"{self.net.address(name)}:{CLIENT}" for name in WITNESSES)
        for name in WITNESSES:
            self.units.add(name, self.hosts[name], self._member(name), self.log(name))
        holder = [sys.executable, "-I", "-S", chaos_etcd_holder.__file__, str(ttl_ms // 1_000), endpoints]
        for site, (host,) in SITES.items():
            (root / host).mkdir()
            words = [fenced_platform.__file__, root / host, PLATFORM, self.referee_socket, self.stamps, site]
            self.units.add(host, self.hosts[host], [*holder, *map(str, words)], self.log(host))
            with self.net.inside(host):
                self._heard[site] = Listener("eth0", CLIENT)

    def _member(self, name: str) -> list[str]:
        here = self.net.address(name)
        cluster = ",".join(f"{one}=http://{self.net.address(one)}:{PEER}" for one in WITNESSES)
        command = ["etcd", "--name", name, "--data-dir", str(self.root / name), "--initial-cluster", cluster]
        command += ["--listen-client-urls", f"http://{here}:{CLIENT}", "--listen-peer-urls", f"http://{here}:{PEER}"]
        command += ["--advertise-client-urls", f"http://{here}:{CLIENT}"]
        command += ["--initial-advertise-peer-urls", f"http://{here}:{PEER}"]
        return [*command, *(QUICK if self.ttl_ms < QUICK_TTL_MS else ())]

    def begin(self) -> None:
        self.start_referee()
        for name in WITNESSES:
            self.units.start(self.unit(name))
        wait_for(self, self.leader, "etcd elects a leader", START_S)
        for (host,) in SITES.values():
            self.units.start(self.unit(host))
        self.settled(START_S)

    def end(self) -> None:
        for heard in self._heard.values():
            heard.close()
        super().end()

    def lease(self) -> Lease | None:
        active = self.active_site()
        heard = None if active is None else self._heard[active]
        ago_ms = None if heard is None else heard.renewed_ms_ago()
        return None if heard is None or ago_ms is None else Lease(ago_ms, self.ttl_ms, heard.period_ms())

    def leader(self) -> str | None:
        for name in WITNESSES:
            status = self._status(name)
            if status.get("leader", "0") == status.get("header", {}).get("member_id"):
                return name
        return None

    def _status(self, name: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.net.address(name), CLIENT, timeout=LOOK_S)
        with closing(connection), suppress(OSError, http.client.HTTPException, ValueError):
            with self.net.inside("w1"):
                connection.connect()
            connection.request("POST", "/v3/maintenance/status", "{}")
            return dict(json.loads(connection.getresponse().read()))
        return {}

    def look(self) -> Active | None:
        idle = [name for name, unit in self.units.all.items() if not unit.pid]
        if idle:
            return self.not_yet(f"{', '.join(idle)} do not run")
        leaders = {self._status(name).get("leader", "0") for name in WITNESSES}
        if len(leaders) != 1 or leaders == {"0"}:
            return self.not_yet(f"leaders: {leaders}")
        alive = [one for one in self.referee().seen if one.gone_ns is None and one.role == "daemon"]
        if len(alive) != 1:
            return self.not_yet(f"{len(alive)} platforms are alive")
        return Active(alive[0].site, alive[0].epoch, alive[0].epoch)

    def epoch(self) -> int:
        return max((one.epoch for one in self.referee().seen), default=0)
