"""Files of a run: certificates, configurations, what an operator of two Navixy sites writes, and where it lies.

Each site is one host with a database, an agent and the platform's stand-in, configured as deploy/navixy says, less
systemd; three witnesses, the vendor and an operator with the receivers of notifications are hosts, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import navixy_stand_in
from chaosrig.chaos_layout import Addresses
from maria_rig import DEPLOY, MariaServer
from navixy_config import LICENSE, component_of, license_of, probes_of
from navixy_stand_in import SERVICES

from agents.license.key_file import KeyRing, draw_key, save_ring
from witness.pki.store import create_ca, issue

GROUP = "shop"
WITNESSES = ("w1", "w2", "w3")
SITES = {"dc-a": "a", "dc-b": "b"}
"""Its host."""
VENDOR, OPERATOR = "vendor", "ops"
HOSTS = (*WITNESSES, *SITES.values(), VENDOR, OPERATOR)
API, PEER, METRICS, LINK, DATABASE = 7410, 7411, 7412, 7430, 3306
VENDOR_PORT, SESSIONS_PORT = 8081, 8082
RECEIVERS = {"mail": 2525, "hook": 8091, "chat": 8092}
SERVICE_PORTS = dict(zip(SERVICES, (9001, 9002, 9003), strict=True))
PROGRAM = Path(navixy_stand_in.__file__)
START_S = 1.5
"""What a service of the stand-in needs to be up; a real one needs 60 to 90 s."""
UP_S = 40
STOP_S = 5
UNHEALTHY_MS = 2_000
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="


def other_site(site: str) -> str:
    return next(name for name in SITES if name != site)


class Layout:
    """Made whole by the constructor; the directory is the caller's to remove."""

    def __init__(self, ttl_ms: int, addresses: Addresses, *, escrow: bool) -> None:
        self.ttl_ms = ttl_ms
        self.escrow = escrow
        self.addresses = addresses
        self.root = Path(tempfile.mkdtemp(prefix="thirdsite-licenses-", dir="/tmp"))
        self.root.chmod(0o711)  # the databases' own user passes through
        for host in (*HOSTS, "logs"):
            (self.root / host).mkdir()
        self.vendor_record = self.root / VENDOR / "record"
        self.told_record = self.root / OPERATOR / "told"
        self.pki = self.root / "pki"
        self.cluster = str(create_ca(self.pki).cluster_id)
        self._issue()
        for name in WITNESSES:
            self._write(name, self._witness(name))
        apis = [self.at(name, API) for name in WITNESSES]
        self._write(OPERATOR, {"witnesses": apis, **self.tls("operator-ann")})
        self.groups = self._write("groups", {"groups": [self._group()]})

    def at(self, host: str, port: int) -> str:
        return self.addresses.at(host, port)

    def config(self, host: str) -> Path:
        return self.root / f"{host}.yaml"

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def certificate(self, host: str) -> Path:
        """The operator's, for looks."""
        return self.pki / {OPERATOR: "operator-ann"}[host]

    def run_dir(self, site: str) -> Path:
        return self.root / SITES[site] / "run"

    def platform(self, site: str) -> Path:
        return self.root / SITES[site] / "platform"

    def tls(self, directory: str) -> dict[str, str]:
        return {part: str(self.pki / directory / f"{part}.pem") for part in ("ca", "cert", "key")}

    def _issue(self) -> None:
        for name in WITNESSES:
            issue(self.pki, "witness", name, hosts=[self.addresses.of[name]])
        for site, host in SITES.items():
            issue(self.pki, "agent", site, groups=[GROUP], hosts=[self.addresses.of[host]])
        issue(self.pki, "operator", "ann", role="admin")

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.root / f"{name}.yaml"
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML without aliases
        return path

    def _secret(self, name: str, content: str) -> str:
        path = self.root / name
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    # -- the third location -----------------------------------------------------------------------------------

    def _witness(self, name: str) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "witness": name,
            "data_dir": str(self.root / name / "data"),
            "listen": self.at(name, API),
            "peers": [{"id": one, "address": self.at(one, PEER)} for one in WITNESSES],
            "tls": self.tls(f"witness-{name}"),
            "metrics": {"listen": f"127.0.0.1:{METRICS}"},
            "log": {"level": "info", "format": "json"},
            "notify": self._notify(),
        }

    def _notify(self) -> dict[str, Any]:
        """Three ways, everything, as soon as it may."""
        mail, hook, chat = (self.at(OPERATOR, port) for port in RECEIVERS.values())
        post = self._secret("mail.url", f"mailto://{mail}?from=w@example.net&to=ops@example.net&mode=insecure")
        talk = self._secret("chat.url", f"json://{chat}/in")
        secret = self._secret("hook.secret", SECRET)
        means: dict[str, dict[str, Any]] = {
            "mail": {"apprise": {"url_file": post}},
            "chat": {"apprise": {"url_file": talk}},
            "hook": {"webhook": {"url": f"http://{hook}/in", "secret_file": secret}},
        }
        targets = [{"name": name, "severity": "detail", **way} for name, way in means.items()]
        return {"group_wait": "100ms", "group_interval": "200ms", "targets": targets}

    def _group(self) -> dict[str, Any]:
        """Moves follow each other without a pause: it is not the rules against flapping that are tried."""
        return {
            "group": GROUP,
            "sites": list(SITES),
            "ttl": f"{self.ttl_ms}ms",
            "max_replication_lag": "5m",
            "unhealthy_for": f"{UNHEALTHY_MS}ms",
            "cooldown": "0s",
            "moves_max": 1_000,
            "handover_timeout": "2m",
            "activation_backoff": "1s",
            "licenses": [{"name": LICENSE, "escrow": "required"}] if self.escrow else [],
        }

    # -- a site -----------------------------------------------------------------------------------------------

    def write_sites(self, databases: dict[str, MariaServer]) -> None:
        """Once the databases have their places; by site."""
        ring = KeyRing((draw_key(),))
        for site, host in SITES.items():
            self.platform(site).mkdir()
            save_ring(self.root / f"{host}.sealing", ring)
            said = {
                "db": str(databases[site].navixy_db),
                "vendor": f"http://{self.at(VENDOR, VENDOR_PORT)}",
                "sessions": [self.addresses.of[VENDOR], SESSIONS_PORT],
                "site": site,
                "ports": SERVICE_PORTS,
                "start_s": START_S,
                "exchange_s": 36_000,
            }
            (self.platform(site) / "platform.json").write_text(json.dumps(said), encoding="utf-8")
            self._write(host, self._site(site, host, databases[site]))

    def _site(self, site: str, host: str, database: MariaServer) -> dict[str, Any]:
        other = other_site(site)
        return {
            "cluster": self.cluster,
            "site": site,
            "tls": self.tls(f"agent-{site}"),
            "state_dir": str(self.root / host / "state"),
            "runtime_dir": str(self.run_dir(site)),
            "witnesses": [{"id": name, "address": self.at(name, API)} for name in WITNESSES],
            "site_link": {
                "listen": self.at(host, LINK),
                "peers": [{"site": other, "address": self.at(SITES[other], LINK)}],
            },
            "log": {"level": "info", "format": "json"},
            "groups": [self._site_group(site, host, database)],
        }

    def _site_group(self, site: str, host: str, database: MariaServer) -> dict[str, Any]:
        db, stop = database.command, self.stand_in("stop", site)
        return {
            "group": GROUP,
            "activation": {
                "timeout": "3m",
                "steps": [
                    {"name": "promote-db", "command": db("promote"), "undo": db("demote"), "timeout": "60s"},
                    {"name": "start-services", "command": self.stand_in("start", site), "undo": stop, "timeout": "30s"},
                    {"name": "wait-until-up", "command": self.check(site, UP_S), "timeout": f"{UP_S + 10}s"},
                ],
            },
            "deactivation": {
                "timeout": "90s",
                "steps": [
                    {"name": "stop-services", "command": stop, "timeout": f"{STOP_S}s"},
                    {"name": "demote-db", "command": db("demote"), "timeout": "30s"},
                ],
            },
            "components": [component_of(database)],
            "licenses": [self._license(site, host, database)] if self.escrow else [],
            "probes": probes_of(database, self.check(site)),
        }

    def _license(self, site: str, host: str, database: MariaServer) -> dict[str, Any]:
        probe = {"command": self.stand_in("licensed", site), "interval": "3s", "timeout": "3s"}
        return {**license_of(database, self.root / f"{host}.sealing"), "probe": probe}

    def stand_in(self, verb: str, site: str) -> list[str]:
        return [sys.executable, str(PROGRAM), verb, str(self.platform(site))]

    def check(self, site: str, wait_s: int = 0) -> list[str]:
        """The product's own look at a Navixy."""
        wait = ["--wait", str(wait_s)] if wait_s else []
        return [sys.executable, str(DEPLOY / "navixy_check.py"), *wait, "--", *self.stand_in("check", site)]
