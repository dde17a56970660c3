"""/healthz: the process answers. /readyz: it has a quorum and knows what was committed. /metrics: Prometheus."""

from __future__ import annotations

from aiohttp import web

from witness.http.keys import SERVICES
from witness.runtime.telemetry import CONTENT_TYPE


async def healthz(request: web.Request) -> web.Response:
    return web.json_response({"alive": True, "witness": request.app[SERVICES].witness})


async def readyz(request: web.Request) -> web.Response:
    leading, has_quorum, caught_up = request.app[SERVICES].cluster.place()
    ready = has_quorum and caught_up
    body = {"ready": ready, "leading": leading, "has_quorum": has_quorum, "caught_up": caught_up}
    return web.json_response(body, status=200 if ready else 503)


async def metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[SERVICES].telemetry.render(), headers={"Content-Type": CONTENT_TYPE})


ROUTES = (web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics))
