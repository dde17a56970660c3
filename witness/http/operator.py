"""The operators' API: every change becomes one command, answered when it is applied or refused by the machine.

Any witness serves any request. Nothing is decided here: a switchover is planned by the node from what it sees, and
judged once more by the machine. The author of a command is the name in the certificate, never one in the body.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from proto.commands import (
    Author,
    Command,
    ConfigureGroup,
    DeleteGroup,
    QuarantineCause,
    Reconcile,
    SetMaintenance,
    SetMode,
    WaiveEscrow,
)
from proto.commands import SetQuarantine as Quarantine
from proto.decisions import REASON_TEXT, Reason
from proto.errors import BadValue
from proto.events import Event
from proto.groups import GroupConfig, Mode
from proto.license import read_version
from proto.permit import VOUCHED
from proto.severity import is_alarm, severity_of
from proto.units import GroupId, LicenseName, SiteId, check_name
from witness.activity.evidence import event_fields
from witness.core.effects import Outcome
from witness.group_fields import from_fields, to_fields
from witness.http.bodies import Body, query_number, read_body
from witness.http.keys import SERVICES, Cluster
from witness.http.roles import OPERATOR, answer

EVENTS_MAX = 1_000
EVENTS_DEFAULT = 100
GROUPS_PAGE_MAX = 500
SEQ_MAX = 1 << 53


def _cluster(request: web.Request) -> Cluster:
    return request.app[SERVICES].cluster


def _group(request: web.Request) -> GroupId:
    return GroupId(check_name(request.match_info["group"], "group"))


def _author(request: web.Request, body: Body) -> Author:
    """The name of the certificate; why, in the operator's words (which moves must have)."""
    return Author(request[OPERATOR].name, body.text("reason", ""))


async def _submit(request: web.Request, command: Command) -> web.Response:
    return answer(_named(await _cluster(request).submit(command), request, command))


def _named(outcome: Outcome, request: web.Request, command: Command | SiteId | None = None) -> Outcome:
    """Whoever mistyped a name has to see it, beside those that there are. The machine's refusal repeats none."""
    if outcome.reason is Reason.UNKNOWN_GROUP and outcome.detail in ("", REASON_TEXT[outcome.reason]):
        return dataclasses.replace(outcome, detail=f"group {_group(request)}")
    found = _cluster(request).group_config(_group(request))
    if found is None:
        return outcome
    if outcome.reason is Reason.UNKNOWN_SITE and isinstance(command, SetMaintenance | Quarantine | str):
        asked = command if isinstance(command, str) else command.site
        return _beside(outcome, f"site {asked}", found[0], found[0].sites)
    if outcome.reason is Reason.UNKNOWN_LICENSE and isinstance(command, WaiveEscrow):
        return _beside(outcome, f"license {command.license}", found[0], [one.name for one in found[0].licenses])
    return outcome


def _beside(outcome: Outcome, asked: str, config: GroupConfig, known: Sequence[str]) -> Outcome:
    return dataclasses.replace(outcome, detail=f"{asked}; {config.group} has: {', '.join(known) or 'none'}")


# -- reading ----------------------------------------------------------------------------------------------


async def get_status(request: web.Request) -> web.Response:
    return web.json_response(_cluster(request).summary())


async def get_timing(request: web.Request) -> web.Response:
    """What this witness measured in the life of its process; `witnessctl timing` asks every witness."""
    return web.json_response(_cluster(request).timing())


async def get_groups(request: web.Request) -> web.Response:
    """A page of groups in the order of their names; `after` is the last name of the page before."""
    limit = max(1, query_number(request, "limit", 100, GROUPS_PAGE_MAX))
    cluster, after = _cluster(request), request.query.get("after", "")
    names = [name for name in cluster.group_names() if name > after]
    page = [cluster.group_status(name) for name in names[:limit]]
    return web.json_response({"groups": page, "next": names[limit - 1] if len(names) > limit else None})


async def get_group(request: web.Request) -> web.Response:
    cluster, group = _cluster(request), _group(request)
    status, found = cluster.group_status(group), cluster.group_config(group)
    if status is None or found is None:
        return answer(_named(Outcome(Reason.UNKNOWN_GROUP), request))
    return web.json_response({**status, "config": to_fields(found[0])})


async def get_events(request: web.Request) -> web.Response:
    """Events above `after`, oldest first; without it the newest page."""
    limit = max(1, query_number(request, "limit", EVENTS_DEFAULT, EVENTS_MAX))
    cluster = _cluster(request)
    head = cluster.events_head()
    after = query_number(request, "after", max(0, head - limit), SEQ_MAX)
    events = [_event(event) for event in cluster.events(after, limit)]
    return web.json_response({"head": head, "events": events})


def _event(event: Event) -> dict[str, Any]:
    return {
        **event_fields(event),
        "alarm": is_alarm(event.kind),
        "severity": severity_of(event.kind).value,
    }


# -- configuring ------------------------------------------------------------------------------------------


async def put_group(request: web.Request) -> web.Response:
    """Creates (expected_version 0) or changes; the version is the one that the author saw."""
    body, group = await read_body(request), _group(request)
    fields, expected, author = body.mapping("config"), body.number("expected_version"), _author(request, body)
    body.done()
    if expected is None:
        raise BadValue("expected_version", None, "is required", "0 creates; otherwise the version that you saw")
    try:
        config = from_fields({"group": group, **fields})
    except BadValue as error:
        return answer(Outcome(Reason.BAD_CONFIGURATION, str(error)))
    if config.group != group:
        raise BadValue("config.group", config.group, f"the path names {group}", "make them agree")
    return await _submit(request, ConfigureGroup(config, expected, author))


async def delete_group(request: web.Request) -> web.Response:
    body, group = await read_body(request), _group(request)
    author = _author(request, body)
    body.done()
    return await _submit(request, DeleteGroup(group, author))


# -- moving -----------------------------------------------------------------------------------------------


async def post_switchover(request: web.Request) -> web.Response:
    body, group, cluster = await read_body(request), _group(request), _cluster(request)
    to = SiteId(check_name(body.text("to"), "to"))
    expected_epoch, author = body.number("expected_epoch"), _author(request, body)
    body.done()
    status = cluster.group_status(group)
    if status is not None and expected_epoch not in (None, status["epoch"]):
        detail = f"expected epoch {expected_epoch}, the group is at {status['epoch']}"
        return answer(Outcome(Reason.EPOCH_CONFLICT, detail))
    plan = cluster.plan_switchover(group, to, author)
    if isinstance(plan, Outcome):
        return answer(_named(plan, request, to))
    return await _submit(request, plan)


async def post_mode(request: web.Request) -> web.Response:
    body, group = await read_body(request), _group(request)
    mode = _one_of(Mode, body.text("mode"), "mode")
    author = _author(request, body)
    body.done()
    return await _submit(request, SetMode(group, mode, author))


async def post_maintenance(request: web.Request) -> web.Response:
    body, group = await read_body(request), _group(request)
    site, on = SiteId(check_name(body.text("site"), "site")), body.flag("on")
    author = _author(request, body)
    body.done()
    return await _submit(request, SetMaintenance(group, site, on, author))


async def post_quarantine(request: web.Request) -> web.Response:
    """`causes` limits what is cleared; setting always has the cause 'operator'."""
    body, group = await read_body(request), _group(request)
    site, on = SiteId(check_name(body.text("site"), "site")), body.flag("on")
    causes = tuple(_one_of(QuarantineCause, cause, "causes") for cause in body.texts("causes"))
    author = _author(request, body)
    body.done()
    if on and causes:
        raise BadValue("causes", [cause.value for cause in causes], "only for clearing", "leave it out")
    return await _submit(request, Quarantine(group, site, on, causes, author))


async def post_reconcile(request: web.Request) -> web.Response:
    """The operator vouches for every site that is away; `confirm` is the phrase that says for what."""
    body, group = await read_body(request), _group(request)
    author, phrase = _author(request, body), body.text("confirm", "")
    body.done()
    if phrase != VOUCHED:
        raise BadValue("confirm", phrase, f"must be '{VOUCHED}'", "look there first; destroy permits that are left")
    return await _submit(request, Reconcile(group, author))


async def post_waive(request: web.Request) -> web.Response:
    """The operator gives the newest version of a license's key up; `newest` names it, as the status shows it."""
    body, group = await read_body(request), _group(request)
    name = LicenseName(check_name(body.text("license"), "license"))
    newest, author = read_version(body.text("newest"), "newest"), _author(request, body)
    body.done()
    return await _submit(request, WaiveEscrow(group, name, newest, author))


def _one_of(kind: Any, value: str, field: str) -> Any:
    known = {member.value: member for member in kind}
    if value not in known:
        raise BadValue(field, value, f"is none of: {', '.join(known)}", "use one of these")
    return known[value]
