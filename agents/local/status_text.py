"""`site-agent status` for people: what runs, until when, and what stands against it."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_STYLE = {
    "active": "bold green",
    "standby": "cyan",
    "fenced": "cyan",
    "fencing": "bold red",
    "unknown": "yellow",
}

_SHOWN = {"fenced": "fenced (dormant)"}
"""How the last epoch ended: the site is down, and as fit as one in standby."""

_HELD = {"namespace": "green"}
"""Everything else is weaker."""


_LOCK_DELAY = {
    "first-step": "the first step: a license server may keep the session of the site that was stopped",
    "counts-as-down": "what ended here counts as down: a license server may keep its session",
    "release": "the release of what was fenced here: a license server may keep its session",
}


def status_view(view: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [
        Text(f"site {view['site']}   cluster {view['cluster']}   agent {view['version']}", style="bold"),
        _groups(view["groups"]),
        *_components(view["groups"]),
        *_members(view["groups"]),
        *_licenses(view["groups"]),
        _streams([*view["streams"], *_relay(view)["streams"]]),
        *_sites(view.get("site_link")),
    ]
    parts += [Text(f"! {line}", style="yellow") for line in _problems(view)]
    parts += [Text(f"  {line}", style="dim") for line in _facts(view)]
    return Group(*parts)


def _groups(groups: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("GROUP", "STATE", "EPOCH", "LEFT", "READY", "HEALTHY", "LAG", "HELD BY"):
        table.add_column(heading)
    for group in groups:
        plan = group.get("plan")
        state = _SHOWN.get(group["state"], group["state"]) + (f" ({plan['now']})" if plan and plan["now"] else "")
        table.add_row(
            group["group"],
            Text(state, style=_STYLE.get(group["state"], "")),
            str(group["epoch"] or "-"),
            f"{group['remaining_ms'] / 1_000:.1f} s" if group["remaining_ms"] else "-",
            _yes(group["ready"]),
            _yes(group["healthy"]) if group["state"] == "active" else "-",
            "-" if group["lag_ms"] is None else f"{group['lag_ms']} ms",
            group["containment"] if group["enforce"] else "watched only",
        )
    return table


def _components(groups: list[dict[str, Any]]) -> list[Table]:
    """How each is held, weaker ones with the reason; nothing where the configuration names none."""
    rows = [(group["group"], one) for group in groups for one in group.get("components", ())]
    if not rows:
        return []
    table = Table(box=None, pad_edge=False)
    for heading in ("GROUP", "COMPONENT", "KIND", "ROLE", "HELD BY", ""):
        table.add_column(heading)
    for group, one in rows:
        held = Text(one["held"], style=_HELD.get(one["held"], "yellow"))
        table.add_row(group, one["name"], one["kind"], one["role"], held, one["words"])
    return [table]


def _members(groups: list[dict[str, Any]]) -> list[Table]:
    """Nothing where the site has one host."""
    rows = [(group["group"], one) for group in groups for one in group.get("members", ())]
    if not rows:
        return []
    table = Table(box=None, pad_edge=False)
    for heading in ("GROUP", "MEMBER", "REQUIRED", "HEARD", "STATE", "EPOCH", "MAY HOLD"):
        table.add_column(heading)
    for group, one in rows:
        heard = one["heard_ms_ago"]
        table.add_row(
            group,
            one["member"],
            _yes(one["required"]),
            "never" if heard is None else f"{heard / 1_000:.1f} s ago",
            one["phase"],
            str(one["epoch"] or "-"),
            f"{one['may_hold_ms'] / 1_000:.1f} s" if one["may_hold_ms"] else "-",
        )
    return [table]


def _licenses(groups: list[dict[str, Any]]) -> list[Table]:
    """Nothing where no license is configured."""
    rows = [(group["group"], one) for group in groups for one in group.get("licenses", ())]
    if not rows:
        return []
    table = Table(box=None, pad_edge=False)
    for heading in ("GROUP", "LICENSE", "ESCROW", "HELD", "NEWEST", "SEALED WITH", "ACTIVATED"):
        table.add_column(heading)
    activated = {True: "yes", False: "no"}
    for group, one in rows:
        table.add_row(
            group,
            one["license"],
            one.get("escrow", "-"),
            one["held"] + (" (not yet at the witnesses)" if one["unsent"] else ""),
            one["newest"],
            one["key_id"] or "-",
            activated.get(one["activated"], "-"),
        )
    return [table]


def _license_problems(group: dict[str, Any]) -> list[str]:
    lines = []
    for one in group.get("licenses", ()):
        words = [one["problem"], one.get("key_file", ""), one.get("source", ""), one.get("probe", "")]
        if one["problem"]:
            lines.append(f"{group['group']}: license {one['license']}: {'; '.join(filter(None, words))}")
    return lines


def _streams(streams: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("WITNESS", "ADDRESS", "STREAM", "LEADS", "RTT"):
        table.add_column(heading)
    for stream in streams:
        rtt = stream.get("rtt_us")
        table.add_row(
            stream["witness"] + (f" via {stream['via']}" if stream.get("via") else ""),
            stream.get("address", "-"),
            stream.get("state", "-") + (" (suspect)" if stream.get("suspect") else ""),
            _yes(stream["leading"]),
            "-" if rtt is None else f"{rtt / 1_000:.1f} ms",
        )
    return table


def _relay(view: dict[str, Any]) -> dict[str, Any]:
    """A member has no other site to ask."""
    return view.get("relay") or {"answered_via": None, "streams": []}


def _sites(link: dict[str, Any] | None) -> list[Table]:
    """Nothing where the configuration names no other site."""
    if link is None:
        return []
    table = Table(box=None, pad_edge=False)
    for heading in ("SITE", "ADDRESS", "LINK", "ASKS HERE", "CARRIED HERE", "RTT"):
        table.add_column(heading)
    for peer in link["peers"]:
        table.add_row(
            peer["site"],
            peer["address"],
            "open" if peer["connected"] else "down",
            _yes(peer["asks_here"]),
            ", ".join(peer["carried"]) or "-",
            "-" if peer["rtt_ms"] is None else f"{peer['rtt_ms']:.1f} ms",
        )
    return [table]


def _problems(view: dict[str, Any]) -> list[str]:
    certificate = view.get("certificate", {}).get("problem")
    lines: list[str] = [certificate] if certificate else []
    for stream in view["streams"]:
        if stream.get("problem"):
            remedy = f"; {stream['remedy']}" if stream.get("remedy") else ""
            lines.append(f"witness {stream['witness']}: {stream['problem']}{remedy}")
    lines += [
        f"site link to {peer['site']}: {peer['problem']}"
        for peer in (view.get("site_link") or {"peers": ()})["peers"]
        if peer.get("problem")
    ]
    via = _relay(view)["answered_via"]
    if via is not None:
        lines.append(f"no witness answers directly: the agent of {via} carries the renewals")
    for group in view["groups"]:
        lines += _on_holds(group)
        lines += _permit_words(group)
        lines += _lock_delay(group)
        lines += _license_problems(group)
        lines += [f"{group['group']}: {group['trouble']}"] if group["trouble"] else []
        lines += [f"{group['group']}: {blocker}" for blocker in group["blockers"]]
    return lines


def _on_holds(group: dict[str, Any]) -> list[str]:
    """The countdown of a site that lives on what the other sites promise."""
    holds = group.get("holds")
    if not holds or not holds["on"]:
        return []
    said = ", ".join(f"{site} {words}" for site, words in sorted(holds["said"].items())) or "no other site has answered"
    left = f"{group['remaining_ms'] / 1_000:.1f} s"
    return [f"{group['group']}: no witness answers; it goes on by holds ({said}) and ends in {left} without a new one"]


def _promised(group: dict[str, Any]) -> list[str]:
    holds = group.get("holds")
    if not holds or not (holds["promised_to"] or holds["cold"]):
        return []
    why = f"promised to the holder at {holds['promised_to']}, epoch {holds['promised_epoch']}"
    if not holds["promised_to"]:
        why = "what its former life promised is not known"
    left = f"for {holds['claims_in_ms'] / 1_000:.1f} s more" if holds["claims_in_ms"] else "until a witness was heard"
    return [f"{group['group']}: begins nothing {left}: {why}"]


def _permit_words(group: dict[str, Any]) -> list[str]:
    under = (group.get("permit") or {}).get("under")
    if not under:
        return []
    words = f"under break-glass permit {under['permit'][:12]}, epoch {under['epoch']}"
    return [f"{group['group']}: {words}: no witness keeps another site from starting; `break-glass --end` stops it"]


def _lock_delay(group: dict[str, Any]) -> list[str]:
    waits = group.get("lock_delay")
    if not waits:
        return []
    left = f"{waits['left_ms'] / 1_000:.1f} s more"
    return [f"{group['group']}: waits for the lock delay, {left}, before {_LOCK_DELAY[waits['before']]}"]


def _newest_epoch(group: dict[str, Any]) -> list[str]:
    """Where nothing is active: the table has no number then, and a break-glass permit must be above it."""
    finished = group.get("finished_epoch")
    return [f"{group['group']}: newest finished epoch {finished}"] if finished and not group["epoch"] else []


def _facts(view: dict[str, Any]) -> list[str]:
    """What there is nothing to do about."""
    lines: list[str] = []
    for group in view["groups"]:
        lines += _promised(group)
        lines += _newest_epoch(group)
        lines += [f"{group['group']}: is ended by {', '.join(group['ladder'])}"] if group.get("ladder") else []
        lines += [
            f"{group['group']}: {one['name']}: held by the kernel for at most {one['at_most_ms'] / 1_000:.1f} s more"
            for one in group.get("resources", ())
            if one["held"]
        ]
    return lines


def _yes(value: bool) -> str:
    return "yes" if value else "no"
