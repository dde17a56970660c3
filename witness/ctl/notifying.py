"""What `witnessctl notify` does: the leader is asked for what is open, every witness for a test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from proto.edge.config_types import Address
from witness.ctl.client import Answer, ClusterClient, checked, refusal_words
from witness.ctl.errors import Misused, Refused, Unreachable
from witness.ctl.looking import print_json
from witness.ctl.render import console, seconds, table

IDLE: Final = "idle"
"""The stage of a lane that nothing is begun in."""
TEST_WAIT_S: Final = 16.0
"""Above the witness's own limit for an operator's request."""


def show_notify(client: ClusterClient, *, as_json: bool) -> None:
    seen = _leaders_view(client)
    if as_json:
        print_json(seen)
    else:
        console.print(Group(*_drawn(seen)))


def _leaders_view(client: ClusterClient) -> dict[str, Any]:
    """Of the witness that leads, which is the one that tells; else of whichever answers."""
    found: dict[str, Any] | None = None
    for witness in client.witnesses:
        try:
            answer = client.ask_one(witness, "/v1/notify")
        except Unreachable:
            continue
        body = checked(answer).body
        if body["leading"]:
            return body
        found = found or body
    if found is None:
        raise Unreachable("no witness answered")
    return found


def _drawn(seen: dict[str, Any]) -> Iterable[RenderableType]:
    if seen["alarms"]:
        alarms = table("ALARM", "SINCE (UTC)", "WHERE", "WHAT", "LOOKED AFTER BY")
        for alarm in seen["alarms"]:
            where = " ".join(str(part) for part in (alarm["group"], alarm["site"]) if part) or "cluster"
            count = f" (x{alarm['count']})" if alarm["count"] > 1 else ""
            who = Text(alarm["acknowledged"]) if alarm["acknowledged"] else Text("nobody", "red")
            since = str(alarm["since"])[:16].replace("T", " ")
            alarms.add_row(str(alarm["alarm"]), since, where, f"{alarm['words']}{count}", who)
        yield alarms
    else:
        yield Text("no alarm is open", "green")
    yield Text("")
    if not seen["configured"]:
        yield Text(f"nobody is told of anything: {seen['witness']} has no notify section", "yellow")
        return
    if not seen["leading"]:
        yield Text(f"as {seen['witness']} sees it, which does not lead: who leads tells", "yellow")
    lanes = table("TARGET", "MEANS", "TOLD UP TO", "NOW", "TROUBLE")
    means = {target["target"]: target["means"] for target in seen["targets"]}
    for lane in seen["lanes"]:
        row = f"{lane['target']} {lane['lane']}", means[lane["target"]], _told_words(lane, seen["head"])
        lanes.add_row(*row, *_lane_state(lane))
    yield lanes
    for monitor in seen["monitors"]:
        quiet = Text(f"silent: {monitor['silent_for']}", "yellow") if monitor["silent_for"] else Text("well", "green")
        yield Text(f"monitor {monitor['monitor']}: pinged {seconds(monitor['pinged_ms_ago'])}, ") + quiet


def _told_words(lane: dict[str, Any], head: int) -> str:
    """What is nothing for a target is not written down one by one: looked at to the end with nothing to say is all."""
    if lane["told"] is None:
        return "-"
    idle = lane["stage"] == IDLE and not (lane["waiting"] or lane["under_way"])
    if idle and max(lane["told"], lane.get("seen", 0)) >= head:
        return "up to date"
    return f"{lane['told']} of {head}"


def _lane_state(lane: dict[str, Any]) -> tuple[str, Text]:
    now = f"{lane['waiting']} wait" if lane["waiting"] else lane["stage"]
    if lane["attempt"]:
        now = f"attempt {lane['attempt']}"
    trouble = lane["trouble"] or ("the last one was given up" if lane["failing"] else "")
    return now, Text(trouble, "red")


def acknowledge(client: ClusterClient, alarms: list[int], reason: str, *, every: bool, as_json: bool) -> None:
    if every == bool(alarms):
        raise Misused("name the alarms, or say --all; `witnessctl notify list` shows them")
    answer = client.change("POST", "/v1/notify/ack", {"alarms": alarms, "reason": reason})
    if as_json:
        print_json(answer.body)
    checked(answer)
    if not as_json:
        done = "you look after them" if answer.body["changed"] else "somebody looked after them already"
        console.print(done)


def try_targets(client: ClusterClient, target: str, *, leader: bool, as_json: bool) -> None:
    results = [_test_from(client, witness, target) for witness in _chosen(client, leader=leader)]
    failed = [result for result in results if not result["ok"]]
    if as_json:
        print_json({"ok": not failed, "witnesses": results})
    else:
        for result in results:
            _print_test(result)
    if failed:
        raise Refused(f"not every target can be told from {', '.join(str(result['witness']) for result in failed)}")


def _chosen(client: ClusterClient, *, leader: bool) -> list[Address]:
    if not leader:
        return list(client.witnesses)
    for witness in client.witnesses:
        try:
            answer = client.ask_one(witness, "/v1/notify")
        except Unreachable:
            continue
        if answer.ok and answer.body["leading"]:
            return [witness]
    raise Unreachable("no witness leads a majority now")


def _test_from(client: ClusterClient, witness: Address, target: str) -> dict[str, Any]:
    try:
        answer: Answer = client.ask_one(witness, "/v1/notify/test", TEST_WAIT_S, method="POST", body={"target": target})
    except Unreachable as error:
        return {"witness": str(witness), "ok": False, "results": [], "words": str(error)}
    if not answer.ok:
        name = answer.body.get("witness") or str(witness)
        return {"witness": name, "ok": False, "results": [], "words": refusal_words(answer.body)}
    return {**answer.body, "words": ""}


def _print_test(result: dict[str, Any]) -> None:
    if result["words"]:
        console.print(Text(f"{result['witness']}: {result['words']}", "red"))
    for one in result["results"]:
        line = Text(f"{result['witness']} {one['target']} ({one['means']}): ")
        said = Text(f"told in {one['took_ms']} ms", "green") if one["ok"] else Text(f"not told: {one['text']}", "red")
        console.print(line + said)
        if one["detail"]:
            console.print(Text(f"  {one['detail']}", "dim"))
