"""The commands that only look: status, groups, events, would-have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import Event as Alarm
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from proto.events import EventKind
from proto.groups import Mode
from witness.ctl.client import ClusterClient, checked, group_path
from witness.ctl.errors import Refused, Unreachable
from witness.ctl.render import (
    console,
    errors,
    event_line,
    group_detail,
    groups_table,
    witnesses_notes,
    witnesses_table,
    would_have_table,
)

WATCH_S = 1.0
FOLLOW_S = 0.5
PAGE = 500
SEARCHED = 1_000

_never = Alarm()


def pause(seconds: float) -> None:
    """Waits without a clock of its own; Ctrl-C ends it."""
    _never.wait(seconds)


def print_json(value: object) -> None:
    """One line: the last line of any --json output is the whole answer."""
    console.file.write(json.dumps(value) + "\n")
    console.file.flush()


def show_status(client: ClusterClient, group: str | None, *, watch: bool, as_json: bool) -> None:
    look: Callable[[], Any] = (lambda: one_group(client, group)) if group else (lambda: _cluster(client))
    draw: Callable[[Any], RenderableType] = group_detail if group else _draw_cluster
    if not watch:
        seen = look()
        if as_json:
            print_json(seen)
        else:
            console.print(draw(seen))
        return
    _watch(look, draw, as_json=as_json)


def _watch(look: Callable[[], Any], draw: Callable[[Any], RenderableType], *, as_json: bool) -> None:
    if as_json:
        while True:
            print_json(look())
            pause(WATCH_S)
    if not console.is_terminal:
        while True:
            try:
                console.print(draw(look()), "")
            except Unreachable as error:
                console.print(str(error), "")
            console.file.flush()
            pause(WATCH_S)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            try:
                live.update(draw(look()), refresh=True)
            except Unreachable as error:
                live.update(Text(str(error), "red"), refresh=True)
            pause(WATCH_S)


NOT_FOUND: Final = 404
NO_GROUPS: Final = "no groups; make one: witnessctl apply -f FILE"
UNKNOWN_GROUPS: Final = "no groups are known here: no witness with a quorum answers; bring a majority up first"


def one_group(client: ClusterClient, group: str) -> dict[str, Any]:
    """When a witness does not know the group, the one is asked that knows most: a blank one knows nothing."""
    answer = client.ask("GET", group_path(group))
    if answer.status == NOT_FOUND:
        _cluster(client)
        answer = client.ask("GET", group_path(group))
    return checked(answer).body


def _cluster(client: ClusterClient) -> dict[str, Any]:
    """Every witness by its own word, then the groups as the one sees them that knows most."""
    witnesses = ask_all(client)
    return {"witnesses": witnesses, "groups": list(all_groups(client))}


def ask_all(client: ClusterClient) -> dict[str, Any]:
    """What each says of itself; the client asks first, from then on, the one that knows most."""
    witnesses: dict[str, Any] = {}
    refused = False
    for address in client.witnesses:
        try:
            answer = client.ask_one(address, "/v1/status")
        except Unreachable as error:
            witnesses[str(address)] = str(error)
        else:
            refused = refused or not answer.ok
            witnesses[str(address)] = answer.body if answer.ok else str(answer.body.get("words", answer.status))
    if all(isinstance(said, str) for said in witnesses.values()):
        reasons = "\n  ".join(f"{address}: {said}" for address, said in witnesses.items())
        if refused:
            raise Refused(f"no witness tells its status:\n  {reasons}")
        raise Unreachable(f"no witness answered:\n  {reasons}")
    client.prefer(max(client.witnesses, key=lambda address: knowledge(witnesses[str(address)])))
    return witnesses


def knowledge(said: dict[str, Any] | str) -> tuple[bool, int]:
    """Orders witnesses by how much their view of the groups is worth: one that is refused or blank knows nothing."""
    return (False, -1) if isinstance(said, str) else (said["has_quorum"], said["applied_index"])


def _draw_cluster(seen: Any) -> RenderableType:
    witnesses = seen["witnesses"]
    none = NO_GROUPS if any(knowledge(said)[0] for said in witnesses.values()) else UNKNOWN_GROUPS
    groups = groups_table(seen["groups"]) if seen["groups"] else Text(none)
    return Group(witnesses_table(witnesses.items()), *witnesses_notes(witnesses.values()), Text(""), groups)


def all_groups(client: ClusterClient) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        page = client.get(f"/v1/groups?limit={PAGE}&after={after}")
        yield from page["groups"]
        if page["next"] is None:
            return
        after = page["next"]


def show_groups(client: ClusterClient, *, as_json: bool) -> None:
    groups = list(all_groups(client)) or _cluster(client)["groups"]
    if as_json:
        print_json({"groups": groups})
    else:
        console.print(groups_table(groups) if groups else NO_GROUPS)


def show_events(
    client: ClusterClient, *, after: int | None, limit: int, group: str | None, follow: bool, as_json: bool
) -> None:
    """The newest `limit` events, or those above `after`; with `follow` all that come.

    Those of one group are looked for among the newest SEARCHED of all. The witness that knows most is asked, and
    named on stderr: one that is refused or far behind would leave out the newest without a word. That there are none
    of a group is said there, too: its name may be mistyped.
    """
    _name_teller(client)
    start = "" if after is None else f"&after={after}"
    page = client.get(f"/v1/events?limit={limit if group is None else SEARCHED}{start}")
    last = int(page["head"]) if after is None else after
    wanted = [event for event in page["events"] if group in (None, event["group"])]
    for event in wanted[-limit:] if after is None else wanted[:limit]:
        _print_event(event, group, as_json=as_json)
    if group is not None and not wanted:
        words = f"(none of a group {group} among the {len(page['events'])} that were looked through)"
        errors.print(Text(words, "yellow"))
    last = max([last, *(int(event["seq"]) for event in page["events"])])
    while follow:
        try:
            page = client.get(f"/v1/events?limit={PAGE}&after={last}")
        except Unreachable as error:
            console.print(Text(f"(waits: {error})", "dim"))
            pause(WATCH_S)
            continue
        for event in page["events"]:
            last = int(event["seq"])
            _print_event(event, group, as_json=as_json)
        if not page["events"]:
            pause(FOLLOW_S)


def _name_teller(client: ClusterClient) -> None:
    said = [seen for seen in ask_all(client).values() if not isinstance(seen, str)]
    best = max(said, key=knowledge)
    lacks = "" if best["has_quorum"] else "; no witness with a quorum answers: the newest may be missing"
    errors.print(Text(f"(as {best['witness']} tells it{lacks})", "yellow" if lacks else "dim"))


def _print_event(event: dict[str, Any], group: str | None, *, as_json: bool) -> None:
    if group is not None and event["group"] != group:
        return
    if as_json:
        print_json(event)
    else:
        console.print(event_line(event))


SEARCHED_MAX: Final = 20_000
"""Of the newest events, for what would have been done."""


def show_would_have(client: ClusterClient, group: str | None, *, as_json: bool) -> None:
    """What automatic mode would have done in groups of other modes: a count for each, and each time."""
    ask_all(client)
    seen = [one for one in all_groups(client) if group in (None, one["group"])]
    if group is not None and not seen:
        raise Refused(f"no group {group}; see: witnessctl groups")
    counts = [
        {"group": one["group"], "mode": one["mode"], **one["would_have"]}
        for one in seen
        if one["would_have"]["count"] or one["mode"] != Mode.AUTOMATIC.value
    ]
    head = int(client.get("/v1/events?limit=1")["head"])
    searched_from = max(0, head - SEARCHED_MAX)
    wanted = [event for event in _events_above(client, searched_from) if event["kind"] == EventKind.WOULD_HAVE.value]
    events = [event for event in wanted if group in (None, event["group"])]
    if as_json:
        print_json({"groups": counts, "events": events, "searched_from": searched_from + 1})
        return
    if not counts:
        console.print("every group is in automatic mode, and was whenever a move was due: nothing would have been done")
        return
    console.print(would_have_table(counts), "")
    for event in events:
        console.print(event_line(event))
    if not events:
        console.print("no move was due")


def _events_above(client: ClusterClient, after: int) -> Iterator[dict[str, Any]]:
    while True:
        page = client.get(f"/v1/events?limit={SEARCHED}&after={after}")["events"]
        if not page:
            return
        yield from page
        after = int(page[-1]["seq"])
