"""`site-agent break-glass`: says what a permit means, asks for the phrase, and hands both to the running agent."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.local.client import ANSWER_BYTES_MAX, AgentUnreachable, UnixConnection, agent_status
from proto.clock import SystemClock
from proto.edge.permit_file import load_permit_text, read_permit
from proto.errors import LocalFault
from proto.permit import Permit, confirmation
from proto.units import GroupId, SiteId

Say = Callable[[str], None]
Ask = Callable[[str], str]


class PermitRefused(LocalFault):
    """The agent does not take the permit, or has none to end; nothing was changed."""


def use_permit(socket: Path, group: str, file: Path, confirm: str | None, say: Say, ask: Ask) -> None:
    """Raises AgentUnreachable, PermitRefused, and BadValue for a file that is no permit."""
    text = load_permit_text(file)
    permit = read_permit(text)
    view = agent_status(socket)
    found = _group(view, group)
    terms = found.get("permit")
    if terms is None:
        raise PermitRefused(
            f"{group} takes no permits here: its configuration has no break_glass, or this agent never heard of it"
        )
    if terms["under"] is not None:
        raise PermitRefused(_in_use(found, terms["under"]))
    others = tuple(SiteId(site) for site in terms["others"])
    for line in _explained(view, found, permit, others):
        say(line)
    wanted = confirmation(GroupId(group), SiteId(view["site"]), others)
    phrase = ask(f"Type '{wanted}' to go on") if confirm is None else confirm
    _post(socket, group, {"permit": text, "confirm": phrase})
    say(f"taken       {group} starts here under epoch {permit.epoch}; follow it with `site-agent status`")
    say(f"end it      site-agent break-glass {group} --end")


def end_permit(socket: Path, group: str, say: Say) -> None:
    _group(agent_status(socket), group)
    _post(socket, group, {"end": True})
    say(f"ending      {group} stops here, in order; follow it with `site-agent status`")


def _group(view: dict[str, Any], group: str) -> dict[str, Any]:
    for one in view["groups"]:
        if one["group"] == group:
            found: dict[str, Any] = one
            return found
    names = ", ".join(one["group"] for one in view["groups"])
    raise PermitRefused(f"the agent of {view['site']} serves no group {group!r}: it has {names}")


def _explained(view: dict[str, Any], found: dict[str, Any], permit: Permit, others: tuple[SiteId, ...]) -> list[str]:
    until = datetime.fromtimestamp(permit.use_by_ms / 1_000, UTC)
    now = datetime.fromtimestamp(SystemClock().read().wall_ms / 1_000, UTC)
    terms = found["permit"]
    stopped = ", ".join(others) or "every other site"
    return [
        f"permit      {permit.permit.hex()} for {permit.group} at {permit.site}, epoch {permit.epoch}",
        f"use by      {until:%Y-%m-%d %H:%M:%S} UTC; this machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC",
        f"this site   {view['site']}, {found['state']}, highest finished epoch {found['finished_epoch']}",
        f"witnesses   silent for {terms['silent_ms'] // 1_000} s; {terms['after_ms'] // 1_000} s are needed",
        "",
        f"It makes {permit.group} active here without the witnesses. Nothing checks that {stopped} does not run:",
        f"  - {stopped}: stopped, seen with your own eyes or cut from its power, and it stays so",
        "  - a site that was only cut off or frozen is NOT stopped: it may go on, and both write",
        *_license_words(found),
        "If you are not sure, stop here. The permit is not used up before you confirm.",
        "",
    ]


def _in_use(found: dict[str, Any], under: dict[str, Any]) -> str:
    """Who repeats the command because nothing moves yet must not be told to make another permit."""
    group, words = found["group"], f"permit {under['permit'][:12]}, epoch {under['epoch']}"
    return f"{group} is {found['state']} here under {words}: it needs no other; follow it with `site-agent status`"


def _license_words(found: dict[str, Any]) -> list[str]:
    """A key that was exchanged behind the last word from outside is known to nobody here (ADR 0018)."""
    kept = [f"{one['license']} {one['held']}" for one in found.get("licenses", ())]
    if not kept:
        return []
    return [
        f"  - license keys: it starts with what is kept here ({', '.join(kept)}). Where the other site",
        "    exchanged its key behind that, the vendor refuses this one: have the vendor's number at hand",
    ]


def _post(socket: Path, group: str, body: dict[str, Any]) -> None:
    connection = UnixConnection(socket)
    try:
        connection.request("POST", f"/v1/groups/{group}/break-glass", json.dumps(body))
        answer = connection.getresponse()
        said = json.loads(answer.read(ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AgentUnreachable(f"{socket}: the agent did not answer ({why}): look at `site-agent status`") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise PermitRefused(str(said.get("error", f"status {answer.status}")))
