"""Where everything of one demo is: a directory to throw away, ports on loopback, certificates, configurations.

The files are those that an operator would write; whoever keeps the demo running can read and change them.
"""

from __future__ import annotations

import random
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proto.edge.identity import OperatorRole, Role
from proto.edge.tls import TlsFiles
from proto.errors import LocalFault
from witness.pki.store import create_ca, issue

GROUP = "shop"
KEY = "shop-2041"
"""The license key that both sites have, of which one activation may exist."""
CALIBRATION_KEY = "shop-trial"
SITES = ("dc-a", "dc-b")
WITNESSES = ("w1", "w2", "w3")
HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the ports that the kernel hands out for outgoing connections."""
DIRECTORY_CHARS_MAX = 60
"""Sockets live below it, and their paths are short by nature."""
RAFT_DEFAULTS_TTL_MS = 3_000
PROGRAM = Path(__file__).with_name("platform_service.py")


@dataclass(frozen=True, slots=True)
class WitnessPlace:
    name: str
    config: Path
    api: int
    peer: int
    metrics: int
    log: Path


@dataclass(frozen=True, slots=True)
class SitePlace:
    name: str
    config: Path
    runtime: Path
    data: Path
    platform: int
    local: int
    log: Path


@dataclass(slots=True)
class Ports:
    """Free ports, held until each is handed out, so that two demos at once do not meet."""

    held: dict[int, socket.socket] = field(default_factory=dict)

    def take(self) -> int:
        for port in random.sample(PORTS, 500):
            if port in self.held:
                continue
            sock = socket.socket()
            try:
                sock.bind((HOST, port))
            except OSError:
                sock.close()
                continue
            self.held[port] = sock
            return port
        raise LocalFault(f"no free port between {PORTS.start} and {PORTS.stop} on {HOST}")

    def release(self) -> None:
        for sock in self.held.values():
            sock.close()
        self.held.clear()


class Layout:
    """Made whole by the constructor; `remove` takes it away."""

    def __init__(self, ttl_ms: int) -> None:
        self.ttl_ms = ttl_ms
        self.root = _directory()
        self.logs = self.root / "logs"
        self.logs.mkdir()
        ports = Ports()
        self.license_port = ports.take()
        self.signs_log = self.logs / "license-signs.jsonl"
        self.cluster = create_ca(self.root / "pki", cluster_name="demo")
        self.witnesses = {name: self._witness(name, ports) for name in WITNESSES}
        self.sites = {name: self._site(name, ports) for name in SITES}
        self._write_configs()
        self._issue("operator", "demo", role=OperatorRole.ADMIN)
        self.ctl = self._write("ctl.yaml", self._ctl_config())
        self.groups = self._write("groups.yaml", {"groups": [self._group()]})
        ports.release()

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    # -- the files ------------------------------------------------------------------------------------------

    def _witness(self, name: str, ports: Ports) -> WitnessPlace:
        self._issue("witness", name, hosts=(HOST, "localhost"))
        config, log = self.root / f"{name}.yaml", self.logs / f"{name}.log"
        return WitnessPlace(name, config, ports.take(), ports.take(), ports.take(), log)

    def _site(self, name: str, ports: Ports) -> SitePlace:
        self._issue("agent", name, hosts=(HOST,), groups=(GROUP,))
        home = self.root / name
        for directory in (home, home / "run", home / "data"):
            directory.mkdir(mode=0o700)
        (home / "data" / "orders.log").write_text("replica of the platform's data\n", encoding="utf-8")
        config, log = self.root / f"{name}.yaml", self.logs / f"{name}.log"
        return SitePlace(name, config, home / "run", home / "data", ports.take(), ports.take(), log)

    def _issue(self, kind: str, name: str, **options: Any) -> TlsFiles:
        return issue(self.cluster.directory, Role(kind), name, **options).tls_files()

    def _write_configs(self) -> None:
        for witness in self.witnesses.values():
            self._write(witness.config.name, self._witness_config(witness))
        for site in self.sites.values():
            self._write(site.config.name, self._agent_config(site))

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.root / name
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def _tls(self, directory: str) -> dict[str, str]:
        home = self.cluster.directory / directory
        return {"ca": str(home / "ca.pem"), "cert": str(home / "cert.pem"), "key": str(home / "key.pem")}

    def _witness_config(self, place: WitnessPlace) -> dict[str, Any]:
        return {
            "cluster": str(self.cluster.cluster_id),
            "witness": place.name,
            "data_dir": str(self.root / place.name),
            "listen": f"{HOST}:{place.api}",
            "peers": [{"id": name, "address": f"{HOST}:{other.peer}"} for name, other in self.witnesses.items()],
            "tls": self._tls(f"witness-{place.name}"),
            "metrics": {"listen": f"{HOST}:{place.metrics}"},
            "log": {"level": "info", "format": "json"},
            **raft_for(self.ttl_ms),
        }

    def _ctl_config(self) -> dict[str, Any]:
        witnesses = [f"{HOST}:{place.api}" for place in self.witnesses.values()]
        return {"witnesses": witnesses, **self._tls("operator-demo")}

    def _agent_config(self, place: SitePlace) -> dict[str, Any]:
        return {
            "cluster": str(self.cluster.cluster_id),
            "site": place.name,
            "tls": self._tls(f"agent-{place.name}"),
            "state_dir": str(self.root / place.name / "state"),
            "runtime_dir": str(place.runtime),
            "witnesses": [{"id": name, "address": f"{HOST}:{it.api}"} for name, it in self.witnesses.items()],
            "local": {"http": f"{HOST}:{place.local}"},
            "groups": [self._agent_group(place)],
        }

    def _agent_group(self, place: SitePlace) -> dict[str, Any]:
        return {
            "group": GROUP,
            "activation": {"timeout": "20s", "steps": [_step("start-platform", self.start_command(place))]},
            "deactivation": {"timeout": "10s", "steps": [_step("stop-platform", self.stop_command(place))]},
            "verify_down": [{"name": "port", "kind": "tcp", "target": f"{HOST}:{place.platform}", "timeout": "500ms"}],
            "probes": [
                {
                    "name": "page",
                    "role": "service",
                    "kind": "http",
                    "url": f"http://{HOST}:{place.platform}/healthz",
                    "interval": "500ms",
                    "timeout": "400ms",
                },
                {
                    "name": "orders",
                    "role": "data",
                    "kind": "exec",
                    "command": ["/bin/sh", "-c", f"test -s {place.data}/orders.log"],
                    "interval": "1s",
                    "timeout": "800ms",
                    "rise": 1,
                    "fall": 1,
                },
            ],
        }

    def start_command(self, place: SitePlace, key: str = KEY) -> list[str]:
        numbers = [str(place.platform), str(self.license_port)]
        return [*_python(), str(PROGRAM), "start", str(place.data), *numbers, key, place.name]

    @staticmethod
    def stop_command(place: SitePlace) -> list[str]:
        return [*_python(), str(PROGRAM), "stop", str(place.data)]

    def _group(self) -> dict[str, Any]:
        # The sites have no link to each other here: nobody could hold for anybody.
        return {"group": GROUP, "sites": list(SITES), "ttl": f"{self.ttl_ms}ms", "witness_loss": "fence"}


def _python() -> tuple[str, ...]:
    """Isolated and without site-packages: this program needs neither, and both cost start-up time."""
    return sys.executable, "-I", "-S"


def _step(name: str, command: list[str]) -> dict[str, Any]:
    return {"name": name, "command": command, "timeout": "8s"}


def raft_for(ttl_ms: int) -> dict[str, Any]:
    """The defaults suit leases from 3 s on; a shorter one needs a leader sooner, or its death costs the lease."""
    if ttl_ms >= RAFT_DEFAULTS_TTL_MS:
        return {}
    election = max(100, 600 * ttl_ms // RAFT_DEFAULTS_TTL_MS)
    timers = {
        "append_period": election // 12,
        "election_min": election // 2,
        "election_max": election,
        "leader_fallback": 2 * election,
    }
    return {"raft": {name: f"{value}ms" for name, value in timers.items()}}


def _directory() -> Path:
    root = Path(tempfile.mkdtemp(prefix="thirdsite-demo-"))
    if len(str(root)) <= DIRECTORY_CHARS_MAX:
        return root
    root.rmdir()
    return Path(tempfile.mkdtemp(prefix="thirdsite-demo-", dir="/tmp"))
