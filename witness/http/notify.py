"""The operators' API of notifications: what is open and where it was told, a test, and who looks after an alarm."""

from __future__ import annotations

from aiohttp import web

from proto.commands import Acknowledge, Author
from witness.http.bodies import read_body
from witness.http.error_map import PROBLEM_STATUS, Problem, problem_body
from witness.http.keys import SERVICES
from witness.http.roles import OPERATOR, answer
from witness.notify.letter import alarm_fields


async def get_notify(request: web.Request) -> web.Response:
    """Open alarms, and how each target stands as this witness sees it; the one that leads tells."""
    services = request.app[SERVICES]
    alarms = [alarm_fields(number, alarm) for number, alarm in sorted(services.cluster.alarms().items())]
    leading, has_quorum, _ = services.cluster.place()
    told = {"targets": [], "lanes": [], "monitors": []} if services.notifier is None else services.notifier.view()
    place = {"witness": services.witness, "leading": leading and has_quorum, "head": services.cluster.events_head()}
    return web.json_response({**told, **place, "configured": services.notifier is not None, "alarms": alarms})


async def post_ack(request: web.Request) -> web.Response:
    """`alarms`: their numbers; none means all that are open."""
    body = await read_body(request)
    alarms, reason = body.numbers("alarms"), body.text("reason", "")
    body.done()
    command = Acknowledge(alarms, Author(request[OPERATOR].name, reason))
    return answer(await request.app[SERVICES].cluster.submit(command))


async def post_test(request: web.Request) -> web.Response:
    """Sends a letter to one target, or to each, from this witness, and says what became of it."""
    body = await read_body(request)
    target = body.text("target", "")
    body.done()
    notifier, witness = request.app[SERVICES].notifier, request.app[SERVICES].witness
    if notifier is None:
        nobody = problem_body(Problem.NO_NOTIFY, f"{witness} has no notify section: it tells nobody of anything")
        return web.json_response({**nobody, "witness": witness}, status=PROBLEM_STATUS[Problem.NO_NOTIFY])
    results = await notifier.test(target, request[OPERATOR].name)
    ok = all(result["ok"] for result in results)
    return web.json_response({"ok": ok, "witness": witness, "results": results})
