"""Restart policies and entrypoints of an engine's containers, from the files that the engine itself starts from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from agents.components.container import runs_exec
from agents.components.spec import ComponentKind, ComponentSpec
from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.settings import GroupSpec

CONTAINERS = "var/lib/docker/containers"


def check_containers(host: Host) -> Iterator[Finding]:
    wanted = [
        (group, spec)
        for group in host.enforced()
        for spec in group.components
        if spec.kind is ComponentKind.CONTAINER and not spec.dual_role
    ]
    if not wanted:
        return
    known = _containers(host)
    for group, spec in wanted:
        if known is None:
            why = "a restart policy would start it without the lease, and cannot be seen"
            remedy = f"run as root; else look at `docker inspect {spec.container}`, RestartPolicy"
            what = f"/{CONTAINERS} cannot be read"
            yield Finding(Severity.WARNING, spec.container, what, Promise.NO_SPLIT_BRAIN, why, remedy, group.group)
        elif spec.container in known:
            yield from _judge(group, spec, *known[spec.container])


def _judge(group: GroupSpec, spec: ComponentSpec, host_config: Any, config: Any) -> Iterator[Finding]:
    policy = str((host_config.get("RestartPolicy") or {}).get("Name") or "no")
    remedy = f'docker update --restart=no {spec.container}, and restart: "no" where it is composed'
    command = (str(config.get("Path", "")), *map(str, config.get("Args") or ()))
    if spec.under_exec and not runs_exec(command):
        why = "the configuration says that it runs under the lease, and it does not"
        what = f"its entrypoint is {command[0] or 'unknown'}, not site-agent exec"
        change = "start it with `site-agent exec --group ... --` before its command"
        yield Finding(Severity.BROKEN, spec.container, what, Promise.NO_SPLIT_BRAIN, why, change, group.group)
    if policy == "no":
        return
    what = f"restart policy {policy}"
    if spec.under_exec:
        why = "it waits for the lease and begins before the activation steps that it may depend on"
        yield Finding(Severity.WARNING, spec.container, what, Promise.COMES_BACK, why, remedy, group.group)
        return
    why = "the engine starts it at its own start, after a crash and at a boot, without the lease"
    yield Finding(Severity.BROKEN, spec.container, what, Promise.NO_SPLIT_BRAIN, why, remedy, group.group)


def _containers(host: Host) -> dict[str, tuple[Any, Any]] | None:
    """Name -> its two files; None when they may not be read."""
    places = host.entries(CONTAINERS)
    if places is None:
        return {} if not (host.root / "var/lib/docker").exists() else None
    found: dict[str, tuple[Any, Any]] = {}
    for place in places:
        config = _json(host.text(f"{CONTAINERS}/{place.name}/config.v2.json"))
        host_config = _json(host.text(f"{CONTAINERS}/{place.name}/hostconfig.json"))
        name = str(config.get("Name", "")).lstrip("/")
        if name:
            found[name] = (host_config, config)
    return found


def _json(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
