"""Files of one run: certificates, configurations, where each host keeps what. What an operator would write.

Two sites with a lead and a member each, three witnesses, an operator; each of them a host of the run's network.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from chaosrig.chaos_expect import RELAY
from fencerig import fenced_platform

from witness.demo.layout import raft_for
from witness.pki.store import create_ca, issue

GROUP = "shop"
WITNESSES = ("w1", "w2", "w3")
SITES = {"site-a": ("a1", "a2"), "site-b": ("b1", "b2")}
"""Its lead, its member."""
OPERATOR = "ops"
HOSTS = (*WITNESSES, *(host for hosts in SITES.values() for host in hosts), OPERATOR)
MEMBER = "db1"
API, PEER, METRICS, LOCAL, MEMBERS, LINK, PLATFORM = 7410, 7411, 7412, 7413, 7420, 7430, 8080
UNHEALTHY_MS = 5_000
"""A busy machine is not an unfit platform."""
PROGRAM = Path(fenced_platform.__file__)


def site_of(host: str) -> str:
    return next(site for site, hosts in SITES.items() if host in hosts)


def other_site(site: str) -> str:
    return next(name for name in SITES if name != site)


@dataclass(frozen=True, slots=True)
class Addresses:
    """By host."""

    of: dict[str, str]

    def at(self, host: str, port: int) -> str:
        return f"{self.of[host]}:{port}"


class Layout:
    """Made whole by the constructor; `remove` takes it away."""

    def __init__(self, ttl_ms: int, addresses: Addresses) -> None:
        self.ttl_ms = ttl_ms
        self.addresses = addresses
        self.root = Path(tempfile.mkdtemp(prefix="thirdsite-chaos-", dir="/tmp"))
        for host in HOSTS:
            (self.root / host).mkdir()
            self.data(host).mkdir()
        self.referee = self.root / "referee.sock"
        self.stamps = self.root / "stamps"
        self.pki = self.root / "pki"
        self.cluster = str(create_ca(self.pki).cluster_id)
        self._issue()
        self._write_witnesses()
        self._write_sites()

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def data(self, host: str) -> Path:
        """Of a witness, or of a host's platform."""
        return self.root / host / "data"

    def config(self, host: str) -> Path:
        return self.root / f"{host}.yaml"

    def certificate(self, host: str) -> Path:
        """The directory of its three files."""
        if host in WITNESSES:
            return self.pki / f"witness-{host}"
        if host == OPERATOR:
            return self.pki / "operator-ann"
        site = site_of(host)
        return self.pki / (f"agent-{site}" if SITES[site][0] == host else f"member-{MEMBER}.{site}")

    # -- the files ------------------------------------------------------------------------------------------

    def _issue(self) -> None:
        for name in WITNESSES:
            issue(self.pki, "witness", name, hosts=[self.addresses.of[name], self.addresses.of[OPERATOR]])
        for site in SITES:
            self.issue_agent(site)
            issue(self.pki, "member", f"{MEMBER}.{site}", groups=[GROUP])
        issue(self.pki, "operator", "ann", role="admin")

    def issue_agent(self, site: str, **more: Any) -> None:
        """The certificate of a site's lead, which the other site calls by its address."""
        issue(self.pki, "agent", site, groups=[GROUP], hosts=[self.addresses.of[SITES[site][0]]], **more)

    def tls(self, host: str) -> dict[str, str]:
        home = self.certificate(host)
        return {part: str(home / f"{part}.pem") for part in ("ca", "cert", "key")}

    def write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.root / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def _write_witnesses(self) -> None:
        for name in WITNESSES:
            self.write(name, self.witness_config(name, name))
        apis = [self.addresses.at(name, API) for name in WITNESSES]
        self.write(OPERATOR, {"witnesses": apis, **self.tls(OPERATOR)})
        self.groups = self.write("groups", {"groups": [self._group()]})

    def witness_config(self, name: str, host: str) -> dict[str, Any]:
        """Of that witness, on that host."""
        where = {one: self.addresses.at(host if one == name else one, PEER) for one in WITNESSES}
        return {
            "cluster": self.cluster,
            "witness": name,
            "data_dir": str(self.data(host)),
            "listen": self.addresses.at(host, API),
            "peers": [{"id": one, "address": address} for one, address in where.items()],
            "tls": self.tls(name),
            "metrics": {"listen": f"127.0.0.1:{METRICS}"},
            "log": {"level": "info", "format": "json"},
            **raft_for(self.ttl_ms),
        }

    def _group(self) -> dict[str, Any]:
        """Moves follow each other without a pause: it is not the rules against flapping that are tried."""
        return {
            "group": GROUP,
            "sites": list(SITES),
            "ttl": f"{self.ttl_ms}ms",
            "unhealthy_for": f"{UNHEALTHY_MS}ms",
            "cooldown": "0s",
            "moves_max": 1_000,
            "activation_backoff": "1s",
        }

    def _write_sites(self) -> None:
        for site, (lead, member) in SITES.items():
            self.write(lead, self.lead_config(site, lead))
            self.write(
                member,
                {
                    "cluster": self.cluster,
                    "site": site,
                    "member": MEMBER,
                    "lead": self.addresses.at(lead, MEMBERS),
                    "tls": self.tls(member),
                    **self._places(member),
                    "log": {"level": "info", "format": "json"},
                    "groups": [
                        {
                            "group": GROUP,
                            "steps": [{"name": "start-db", "command": self._start(member, site), "timeout": "8s"}],
                            "verify_down": [self._port_closed()],
                        }
                    ],
                },
            )

    def lead_config(self, site: str, host: str, *, home: str = "") -> dict[str, Any]:
        """Of the agent of that site on that host; with a home of its own it is a second one, without members."""
        steps = [{"name": "start", "command": self._start(host, site), "timeout": "8s"}]
        content: dict[str, Any] = {
            "cluster": self.cluster,
            "site": site,
            "tls": self.tls(SITES[site][0]),
            **self._places(home or host),
            "witnesses": [{"id": name, "address": self.addresses.at(name, API)} for name in WITNESSES],
            "local": {"http": f"127.0.0.1:{LOCAL}"},
            "log": {"level": "info", "format": "json"},
        }
        if not home:
            steps.insert(0, {"name": "start-db", "member": MEMBER, "timeout": "8s"})
            content["members_listen"] = self.addresses.at(host, MEMBERS)
            content["members"] = [{"name": MEMBER, "groups": [GROUP]}]
        if RELAY and not home:
            peer = next(name for name in SITES if name != site)
            peers = [{"site": peer, "address": self.addresses.at(SITES[peer][0], LINK)}]
            content["site_link"] = {"listen": self.addresses.at(host, LINK), "peers": peers}
        stop = [*_python(), "stop", str(self.data(host))]
        probe = {"name": "port", "kind": "tcp", "target": f"127.0.0.1:{PLATFORM}", "timeout": "1500ms"}
        data = {"name": "data", "kind": "exec", "command": ["/bin/true"], "rise": 1, "fall": 1}
        content["groups"] = [
            {
                "group": GROUP,
                "activation": {"timeout": "20s", "steps": steps},
                "deactivation": {"timeout": "6s", "steps": [{"name": "stop", "command": stop, "timeout": "3s"}]},
                "verify_down": [self._port_closed()],
                "probes": [{**probe, "role": "service", "interval": "2s"}, {**data, "role": "data"}],
            }
        ]
        return content

    def _places(self, host: str) -> dict[str, str]:
        return {"state_dir": str(self.root / host / "state"), "runtime_dir": str(self.root / host / "run")}

    def _start(self, host: str, site: str) -> list[str]:
        # The referee knows hosts, not sites: a second agent of a site elsewhere is another place.
        place = site if host in SITES[site] else f"{site}@{host}"
        words = ["start", self.data(host), PLATFORM, self.referee, self.stamps, place]
        return [*_python(), *map(str, words)]

    @staticmethod
    def _port_closed() -> dict[str, str]:
        return {"name": "port", "kind": "tcp", "target": f"127.0.0.1:{PLATFORM}", "timeout": "400ms"}


def _python() -> tuple[str, ...]:
    """What the platform needs is the standard library."""
    return sys.executable, "-I", "-S", str(PROGRAM)
