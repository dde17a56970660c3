"""For load balancers, metrics and people on this host: is this site active, until when, and how is it?

Rule: 200 only while the site is active and its deadline has not passed on a reading of the clock that is made for
this very answer; everything else is 503, also an unknown state. Whoever caches the answer is told not to. An
answer is a hint for routing, never a proof: what must not run twice checks the epoch at the resource.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from proto.units import GroupId

REQUEST_BYTES_MAX = 4_096
"""Nothing is ever read from a request's body."""
NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Looks:
    """What the endpoint may see; each call is one look."""

    group: Callable[[GroupId], dict[str, Any] | None]
    """Of agents.core.view.group_view: `active`, `epoch`, `remaining_ms`, `state`, `holds`."""
    groups: Callable[[], tuple[GroupId, ...]]
    status: Callable[[], dict[str, Any]]
    metrics: Callable[[], tuple[bytes, str]]


LOOKS: web.AppKey[Looks] = web.AppKey("looks", Looks)


def build_app(looks: Looks) -> web.Application:
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app[LOOKS] = looks
    app.router.add_get("/", only_group)
    app.router.add_get("/v1/groups/{group}", one_group)
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
    headers = {
        "Thirdsite-Epoch": str(view["epoch"] if active else 0),
        "Thirdsite-Remaining-Ms": str(view["remaining_ms"] if active else 0),
        **NO_STORE,
    }
    on_holds = active and view.get("holds", {}).get("on") is True
    if on_holds:
        headers["Thirdsite-On-Holds"] = "1"
    body = {"group": group, "active": active, "state": view["state"], **({"on_holds": True} if on_holds else {})}
    return web.json_response(body, status=200 if active else 503, headers=headers)


async def status(request: web.Request) -> web.Response:
    return web.json_response(request.app[LOOKS].status(), headers=NO_STORE)


async def metrics(request: web.Request) -> web.Response:
    body, content_type = request.app[LOOKS].metrics()
    return web.Response(body=body, headers={"Content-Type": content_type, **NO_STORE})


def _words(code: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=code, headers=NO_STORE)
