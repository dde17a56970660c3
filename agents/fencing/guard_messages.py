"""Between the seam's types and the lines that a guard process reads and writes; pure."""

from __future__ import annotations

from agents.fencing.base import Containment, GuardStatus, HeldResource, Rung, Step, StepEnd, StepResult
from agents.fencing.line_codec import Message


def run_message(step: Step) -> Message:
    return {
        "type": "run",
        "step_id": step.step_id,
        "argv": list(step.argv),
        "env": dict(step.env),
        "cwd": str(step.cwd),
        "log_path": str(step.log_path),
        "timeout_ms": step.timeout_ms,
    }


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def step_result(message: Message) -> StepResult:
    code, number, error = _whole(message["exit_code"]), _whole(message["signal"]), message["error"]
    if error:
        end = StepEnd.NOT_STARTED
    elif message["timed_out"]:
        end = StepEnd.TIMED_OUT
    elif message["cancelled"]:
        end = StepEnd.CANCELLED
    else:
        end = StepEnd.EXITED if code is not None else StepEnd.SIGNALLED
    return StepResult(str(message["step_id"]), end, code, number, str(error or ""))


def words(message: Message, field: str) -> tuple[str, ...]:
    said = message.get(field)
    return tuple(str(item) for item in said) if isinstance(said, list) else ()


def rungs(message: Message) -> tuple[Rung, ...]:
    said = message.get("rungs")
    rows = said if isinstance(said, list) else []
    return tuple(Rung(str(name), int(after_ms), str(found)) for name, after_ms, found in rows)


def held_resources(message: Message) -> tuple[HeldResource, ...]:
    said = message.get("resources")
    rows = said if isinstance(said, list) else []
    return tuple(HeldResource(str(row["name"]), int(row["gone_by_ns"]), str(row["problem"])) for row in rows)


def guard_status(message: Message) -> GuardStatus:
    privileges = message["privileges"]
    since, ended = message["since"], message["ended"]
    return GuardStatus(
        phase=str(message["phase"]),
        containment=Containment(message["containment"]),
        note=str(message["note"]),
        highest_epoch=_whole(message["highest_epoch"]) or 0,
        epoch=_whole(message["epoch"]),
        deadline_ns=_whole(message["deadline_ns"]),
        floor_ns=_whole(message["floor_ns"]),
        steps=words(message, "steps"),
        missing=words(message, "missing"),
        ladder=words(message, "ladder"),
        rungs=rungs(message),
        resources=held_resources(message),
        privileges=dict(privileges) if isinstance(privileges, dict) else {},
        holder=str(message["holder"]),
        term_at_ns=_whole(message["term_at_ns"]),
        kill_at_ns=_whole(message["kill_at_ns"]),
        since_ns=(int(since[0]), int(since[1]), int(since[2])) if isinstance(since, list) else None,
        ended=tuple(step_result(one) for one in ended) if isinstance(ended, list) else (),
    )
