"""The commands that change something: apply, switchover, mode, maintenance, quarantine, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.text import Text

from proto.clock import SystemClock
from proto.decisions import PASSING, Reason
from proto.groups import Mode
from proto.units import NS_PER_S, GroupId
from witness.ctl.changes import Action, Applies, GroupChange, plan_change
from witness.ctl.client import Answer, ClusterClient, checked, group_path, refusal_words
from witness.ctl.errors import Refused, Unfinished, Unreachable
from witness.ctl.group_file import load_groups
from witness.ctl.looking import pause, print_json
from witness.ctl.progress import Progress, Step
from witness.ctl.render import change_lines, console, errors, waits_for_operator
from witness.group_fields import to_fields

POLL_S = 0.1
ASK_AGAIN_S = 0.5
LEVEL_POLLS = 30
EVENTS_PAGE = 500


def change(client: ClusterClient, path: str, body: dict[str, Any], done: str, *, as_json: bool) -> None:
    """One change that is over when it is answered."""
    answer = client.change("POST", path, body)
    if as_json:
        print_json(answer.body)
    checked(answer)
    if not as_json:
        console.print(done if answer.body["changed"] else f"it was so already: {answer.body['words']}")


def set_mode(client: ClusterClient, group: str, mode: Mode, reason: str, *, as_json: bool) -> None:
    """What is left to the operator by it is said at once, and on stderr: it is no part of the answer."""
    change(
        client,
        group_path(group, "/mode"),
        {"mode": mode.value, "reason": reason},
        f"{group}: mode {mode.value}",
        as_json=as_json,
    )
    found = client.ask("GET", group_path(group))
    waits = waits_for_operator(found.body) if found.ok else ""
    if waits:
        errors.print(Text(waits, "yellow"))


def delete(client: ClusterClient, group: str, reason: str, *, as_json: bool) -> None:
    answer = client.change("DELETE", group_path(group), {"reason": reason})
    if as_json:
        print_json(answer.body)
    checked(answer)
    if not as_json:
        console.print(f"{group} is deleted; its epoch is kept")


# -- apply ------------------------------------------------------------------------------------------------


def apply(client: ClusterClient, file: Path, reason: str, *, dry_run: bool, as_json: bool) -> None:
    """Brings the groups of the file into being, one by one; a refused one does not keep the others back."""
    results: list[dict[str, Any]] = []
    for config in load_groups(file):
        wanted = to_fields(config)
        found = client.ask("GET", group_path(config.group))
        plan = plan_change(wanted, None if found.status == 404 else checked(found).body)
        answer = None
        if plan.action is not Action.NOTHING and not dry_run:
            body = {"config": wanted, "expected_version": plan.expected_version, "reason": reason}
            answer = _put(client, config.group, body)
        results.append(_result(plan, answer))
        if not as_json:
            _print_result(plan, answer)
    failed = [result["group"] for result in results if not result["ok"]]
    if as_json:
        print_json({"ok": not failed, "dry_run": dry_run, "groups": results})
    elif dry_run:
        console.print("dry run: nothing was changed")
    if failed:
        raise Refused(f"{len(failed)} of {len(results)} groups were refused: {', '.join(failed)}")


def _put(client: ClusterClient, group: GroupId, body: dict[str, Any]) -> Answer:
    """A cluster that has just begun, or was upgraded, works at its highest feature level in a moment."""
    answer = client.change("PUT", group_path(group), body)
    for _ in range(LEVEL_POLLS):
        if answer.ok or answer.body.get("reason") != Reason.FEATURE_LEVEL.value:
            break
        pause(POLL_S)
        answer = client.change("PUT", group_path(group), body)
    return answer


def _result(plan: GroupChange, answer: Answer | None) -> dict[str, Any]:
    created = plan.action is Action.CREATE
    fields = {
        change.field: {
            "before": change.before,
            "after": change.after,
            "applies": (Applies.NOW if created else change.applies).value,
        }
        for change in plan.fields
    }
    outcome = {"reason": "ok"} if answer is None else answer.body
    ok = answer is None or answer.ok
    return {"group": plan.group, "action": plan.action.value, "ok": ok, "changes": fields, "outcome": outcome}


def _print_result(plan: GroupChange, answer: Answer | None) -> None:
    for line in change_lines(plan):
        console.print(line)
    if answer is not None:
        console.print(Text("  done", "green") if answer.ok else Text(f"  {refusal_words(answer.body)}", "red"))


# -- switchover -------------------------------------------------------------------------------------------


def switchover(
    client: ClusterClient, group: str, to: str, reason: str, *, wait: bool, timeout_s: float, as_json: bool
) -> None:
    """Asks for the move, then follows it through the ledger until `to` is active."""
    begun = SystemClock().now()
    before = client.get(group_path(group))
    head = int(client.get("/v1/events?limit=1")["head"])
    body = {"to": to, "reason": reason, "expected_epoch": before["epoch"]}
    answer = _asked(client, group_path(group, "/switchover"), body, begun + int(timeout_s * NS_PER_S) if wait else 0)
    if not answer.ok:
        if as_json:
            print_json(answer.body)
        checked(answer)
    if not answer.body["changed"] or not wait:
        if as_json:
            print_json(answer.body)
        else:
            console.print(_accepted(answer, group, to))
        return
    follower = _Follower(client, Progress(group, to), head, as_json=as_json)
    follower.show(0.0, Step("asked", str(before["holder"] or "-"), f"{group} shall move to {to}"))
    total_s = follower.follow(begun, timeout_s)
    if as_json:
        print_json({**answer.body, "seconds": round(total_s, 3), "steps": follower.steps})
    else:
        console.print(Text(f"{group} is active at {to} after {total_s:.2f} s", "green"))


def _asked(client: ClusterClient, path: str, body: dict[str, Any], until_ns: int) -> Answer:
    """What stands in the way and ends by itself, as a promise does, is said once, and waited for."""
    clock, said = SystemClock(), False
    while True:
        answer = client.change("POST", path, body)
        passes = answer.body.get("reason") in {reason.value for reason in PASSING}
        if answer.ok or not passes or clock.now() >= until_ns:
            return answer
        if not said:
            errors.print(Text(f"waiting: {answer.body.get('detail') or answer.body.get('words', '')}", "yellow"))
            said = True
        pause(ASK_AGAIN_S)


def _accepted(answer: Answer, group: str, to: str) -> str:
    if not answer.body["changed"]:
        return f"{group}: {answer.body['words']}"
    return f"{group} moves to {to}; follow it: witnessctl status {group} --watch"


class _Follower:
    """Reads the ledger while a switchover goes on; a witness that is lost meanwhile is only waited for."""

    def __init__(self, client: ClusterClient, progress: Progress, after: int, *, as_json: bool) -> None:
        self._client = client
        self._progress = progress
        self._after = after
        self._as_json = as_json
        self.steps: list[dict[str, Any]] = []

    def follow(self, begun_ns: int, timeout_s: float) -> float:
        clock = SystemClock()
        while True:
            elapsed_s = (clock.now() - begun_ns) / NS_PER_S
            for event in self._events():
                self._after = int(event["seq"])
                step = self._progress.take(event)
                if step is not None:
                    self.show(elapsed_s, step)
                if self._progress.failed:
                    raise Refused(self._progress.failed)
                if self._progress.done:
                    return elapsed_s
            if elapsed_s > timeout_s:
                remedy = "it goes on; see witnessctl status GROUP --watch"
                raise Unfinished(f"not finished after {timeout_s:.0f} s (--timeout); {remedy}")
            pause(POLL_S)

    def _events(self) -> list[dict[str, Any]]:
        try:
            page = self._client.get(f"/v1/events?limit={EVENTS_PAGE}&after={self._after}")
        except Unreachable:
            return []
        events: list[dict[str, Any]] = page["events"]
        return events

    def show(self, elapsed_s: float, step: Step) -> None:
        self.steps.append({"seconds": round(elapsed_s, 3), "phase": step.phase, "site": step.site})
        if not self._as_json:
            console.print(f"{elapsed_s:7.2f} s  {step.phase:<13} {step.site:<12} {step.words}")
