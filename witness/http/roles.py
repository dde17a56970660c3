"""Who may do what with the API: the role in the certificate against the role that the route names.

viewer reads, operator moves groups, admin configures. A refusal says which role was shown and which is needed.
The table is the list of routes itself (witness/http/app.py), where each handler stands with the role it needs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from proto.decisions import Reason
from proto.edge.identity import Identity, OperatorRole, PeerRefused, require_cluster, require_operator
from proto.edge.logs import get_logger
from proto.edge.tls import identity_of
from proto.errors import BadValue, ThirdsiteError
from witness.core.effects import Outcome
from witness.http.error_map import PROBLEM_STATUS, Problem, outcome_body, problem_body, status_of
from witness.http.keys import GATE, SERVICES

REQUEST_S = 15.0
"""Above the node's own limit for proposals: the node answers first, with a reason."""
REQUEST_ID_HEADER = "X-Request-Id"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = get_logger(__name__)


class ApiRefused(Exception):
    """A request that does not become a command."""

    def __init__(self, problem: Problem, words: str) -> None:
        super().__init__(words)
        self.problem = problem


def identity_for(request: web.Request) -> Identity:
    """Who the TLS connection belongs to. Raises PeerRefused."""
    transport = request.transport
    identity = identity_of(None if transport is None else transport.get_extra_info("ssl_object"))
    require_cluster(identity, request.app[SERVICES].cluster_id)
    return identity


OPERATOR = web.RequestKey("operator", Identity)
REQUEST_ID = web.RequestKey("request_id", str)


def needs(role: OperatorRole, handler: Handler) -> Handler:
    """The handler for operators who have at least that role; also bounds how many run at once, and how long."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            request[OPERATOR] = require_operator(identity_for(request), role)
        except PeerRefused as refused:
            raise ApiRefused(Problem.ROLE_REQUIRED, str(refused)) from refused
        gate, running_max = request.app[GATE], request.app[SERVICES].limits.requests_max
        if gate.running >= running_max:
            raise ApiRefused(Problem.TOO_MANY, f"{running_max} requests run already (limits.requests_max)")
        gate.running += 1
        try:
            async with asyncio.timeout(REQUEST_S):
                return await handler(request)
        finally:
            gate.running -= 1

    return guarded


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer has a request id; every error is a body with reason, words and next step, and nothing else."""
    request_id = request[REQUEST_ID] = secrets.token_hex(6)
    try:
        response = await handler(request)
    except ApiRefused as refused:
        response = refusal(refused.problem, str(refused))
    except BadValue as error:
        response = refusal(Problem.BAD_REQUEST, str(error))
    except web.HTTPException as error:
        response = refusal(_problem_of(error.status), f"{request.method} {request.path[:200]}: {error.reason}")
    except TimeoutError:
        response = answer(Outcome(Reason.OUTCOME_UNKNOWN, f"no answer within {REQUEST_S:.0f} s"))
    except ThirdsiteError as error:
        response = refusal(Problem.TOO_MANY, str(error))
    except Exception:  # the text may hold internals: it goes to the log only
        log.exception("request_failed", request=request_id, path=request.path[:200])
        response = refusal(Problem.INTERNAL, f"request {request_id} failed inside of this witness")
    if not response.prepared:
        response.headers[REQUEST_ID_HEADER] = request_id
        response.headers["Cache-Control"] = "no-store"
    request.app[SERVICES].telemetry.requests.labels(str(response.status)).inc()
    return response


def answer(outcome: Outcome) -> web.Response:
    return web.json_response(outcome_body(outcome), status=status_of(outcome.reason))


def refusal(problem: Problem, words: str) -> web.Response:
    return web.json_response(problem_body(problem, words), status=PROBLEM_STATUS[problem])


def _problem_of(status: int) -> Problem:
    known = {404: Problem.NOT_FOUND, 405: Problem.METHOD, 413: Problem.TOO_LARGE}
    return known.get(status, Problem.BAD_REQUEST)
