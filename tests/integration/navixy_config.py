"""What deploy/navixy configures of a site beside its steps: the database, the license and the probes, less systemd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maria_rig import MariaServer

LICENSE = "fingerprint"
ROW = f"var = '{LICENSE}'"


def component_of(server: MariaServer) -> dict[str, Any]:
    db = server.command
    return {
        "name": "db",
        "kind": "database",
        "role": "dual-role",
        "out_of_role": db("out-of-role"),
        "standby_start": db("standby-start"),
        "rejoined": db("follows"),
        "end": db("demote"),
    }


def license_of(server: MariaServer, key_file: Path) -> dict[str, Any]:
    source = {"kind": "sql", "socket": str(server.socket), "user": "root"}
    return {
        "name": LICENSE,
        "key_file": str(key_file),
        "source": {**source, "query": f"SELECT value FROM google.variables WHERE {ROW}"},
        "sink": {"kind": "sql", "statement": f"UPDATE google.variables SET value = %s WHERE {ROW}"},
        "restore_after": "promote-db",
        "watch": "200ms",
    }


def probes_of(server: MariaServer, check: Sequence[str]) -> list[dict[str, Any]]:
    """`check`: the command that says whether the platform is up."""
    probe = {"kind": "exec", "interval": "3s", "timeout": "3s", "rise": 1}
    return [
        {"name": "db", "role": "ready", "command": server.command("applies"), **probe},
        {"name": "db-lag", "role": "lag", "command": server.command("lag-ms"), **probe},
        {"name": "navixy", "role": "service", "command": list(check), **probe},
    ]
