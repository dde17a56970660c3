"""For load balancers, metrics and people on this host: is this site active, until when, and how is it?

Rule: 200 only while the site is active and its deadline has not passed on a reading of the clock that is made for
this very answer; everything else is 503, also an unknown state. Whoever caches the answer is told not to. An
answer is a hint for routing, never a proof: what must not run twice checks the epoch at the resource.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from proto.units import GroupId

REQUEST_BYTES_MAX = 4_096
"""Only a permit is ever read from a request's body, and only on the Unix socket."""
NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Looks:
    """What the endpoint may see; each call is one look."""

    group: Callable[[GroupId], dict[str, Any] | None]
    """Of agents.core.view.group_view: `active`, `epoch`, `remaining_ms`, `state`, `holds`."""
    groups: Callable[[], tuple[GroupId, ...]]
    status: Callable[[], dict[str, Any]]
    metrics: Callable[[], tuple[bytes, str]]
    use_permit: Callable[[GroupId, str, str], Awaitable[str]] | None = None
    """Group, permit, phrase: '' when it is taken, else why not. None where there are no permits (a member)."""
    end_permit: Callable[[GroupId], str] | None = None


LOOKS: web.AppKey[Looks] = web.AppKey("looks", Looks)


def build_app(looks: Looks) -> web.Application:
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app[LOOKS] = looks
    app.router.add_get("/", only_group)
    app.router.add_get("/v1/groups/{group}", one_group)
    app.router.add_post("/v1/groups/{group}/break-glass", break_glass)
    app.router.add_get("/status", status)
    app.router.add_get("/metrics", metrics)
    return app


async def only_group(request: web.Request) -> web.Response:
    """The short address where there is nothing to choose."""
    groups = request.app[LOOKS].groups()
    if len(groups) != 1:
        return _words(404, f"this agent serves {len(groups)} groups: ask /v1/groups/NAME")
    return _group(request, groups[0])


async def one_group(request: web.Request) -> web.Response:
    return _group(request, GroupId(request.match_info["group"]))


def _group(request: web.Request, group: GroupId) -> web.Response:
    view = request.app[LOOKS].group(group)
    if view is None:
        return _words(404, "this agent serves no such group")
    active = view["active"] is True and view["remaining_ms"] > 0
    authority = "permit" if (view.get("permit") or {}).get("under") else "lease"
    headers = {
        "Thirdsite-Epoch": str(view["epoch"] if active else 0),
        "Thirdsite-Remaining-Ms": str(view["remaining_ms"] if active else 0),
        "Thirdsite-Authority": authority if active else "none",
        **NO_STORE,
    }
    on_holds = active and view.get("holds", {}).get("on") is True
    if on_holds:
        headers["Thirdsite-On-Holds"] = "1"
    body = {"group": group, "active": active, "state": view["state"], "authority": authority if active else "none"}
    body |= {"on_holds": True} if on_holds else {}
    return web.json_response(body, status=200 if active else 503, headers=headers)


async def break_glass(request: web.Request) -> web.Response:
    """Only for who may use the socket; a load balancer's port has no business here."""
    looks = request.app[LOOKS]
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX or looks.use_permit is None or looks.end_permit is None:
        return _words(404, "not here")
    group = GroupId(request.match_info["group"])
    try:
        body = json.loads(await request.read())
        ends = body.get("end") is True
        permit, phrase = body.get("permit", ""), body.get("confirm", "")
        if not ends and not (isinstance(permit, str) and isinstance(phrase, str) and permit):
            raise ValueError("permit and confirm are texts")
    except (ValueError, AttributeError):
        return _words(400, "an object with 'permit' and 'confirm', or with 'end': true, was expected")
    words = looks.end_permit(group) if ends else await looks.use_permit(group, permit, phrase)
    return _words(409, words) if words else web.json_response({"ok": True}, headers=NO_STORE)


async def status(request: web.Request) -> web.Response:
    return web.json_response(request.app[LOOKS].status(), headers=NO_STORE)


async def metrics(request: web.Request) -> web.Response:
    body, content_type = request.app[LOOKS].metrics()
    return web.Response(body=body, headers={"Content-Type": content_type, **NO_STORE})


def _words(code: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=code, headers=NO_STORE)
