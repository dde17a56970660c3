"""(4) Every route of a witness on one screen, with the role it needs."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from proto.edge.identity import OperatorRole, PeerRefused, Role, require_role
from witness.http import health, notify, operator
from witness.http.bodies import BODY_BYTES_MAX
from witness.http.error_map import Problem
from witness.http.keys import GATE, SERVICES, Gate, Services
from witness.http.roles import ApiRefused, errors_as_json, identity_for, needs
from witness.http.stream import AgentStream, open_socket

VIEWER, OPERATOR, ADMIN = OperatorRole.VIEWER, OperatorRole.OPERATOR, OperatorRole.ADMIN
GOODBYE_S = 1.5


def build_app(services: Services) -> web.Application:
    """The application of the TLS port, for agents and operators."""
    app = web.Application(middlewares=[errors_as_json], client_max_size=BODY_BYTES_MAX)
    app[SERVICES], app[GATE] = services, Gate()
    group = "/v1/groups/{group}"
    app.add_routes(
        [
            web.get("/v1/agent", agent_stream),
            web.get("/v1/status", needs(VIEWER, operator.get_status)),
            web.get("/v1/timing", needs(VIEWER, operator.get_timing)),
            web.get("/v1/groups", needs(VIEWER, operator.get_groups)),
            web.get(group, needs(VIEWER, operator.get_group)),
            web.get("/v1/events", needs(VIEWER, operator.get_events)),
            web.post(f"{group}/switchover", needs(OPERATOR, operator.post_switchover)),
            web.post(f"{group}/mode", needs(OPERATOR, operator.post_mode)),
            web.post(f"{group}/maintenance", needs(OPERATOR, operator.post_maintenance)),
            web.post(f"{group}/quarantine", needs(OPERATOR, operator.post_quarantine)),
            web.post(f"{group}/reconcile", needs(OPERATOR, operator.post_reconcile)),
            web.get("/v1/notify", needs(VIEWER, notify.get_notify)),
            web.post("/v1/notify/ack", needs(OPERATOR, notify.post_ack)),
            web.post("/v1/notify/test", needs(OPERATOR, notify.post_test)),
            web.post(f"{group}/waive", needs(OPERATOR, operator.post_waive)),
            web.put(group, needs(ADMIN, operator.put_group)),
            web.delete(group, needs(ADMIN, operator.delete_group)),
            *health.ROUTES,
        ]
    )
    return app


def build_metrics_app(services: Services) -> web.Application:
    """Health and metrics alone: what may be shown without TLS on loopback."""
    app = web.Application(middlewares=[errors_as_json], client_max_size=1_024)
    app[SERVICES], app[GATE] = services, Gate()
    app.add_routes(health.ROUTES)
    return app


async def agent_stream(request: web.Request) -> web.StreamResponse:
    try:
        identity = require_role(identity_for(request), Role.AGENT)
    except PeerRefused as refused:
        raise ApiRefused(Problem.ROLE_REQUIRED, str(refused)) from refused
    socket = open_socket()
    await socket.prepare(request)
    await AgentStream(socket, identity, request.app[SERVICES], request.remote).run()
    return socket


async def say_goodbye(services: Services) -> None:
    """Tells every agent that this witness stops, so that they go on at another one at once; bounded."""
    services.streams.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await services.streams.wait_empty()
