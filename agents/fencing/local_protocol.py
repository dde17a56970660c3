"""What is said on the agent's local socket between the agent and the exec guards; pure, checked in one place.

exec guard -> agent:
    register {version, kind: "exec", group, pid, epoch, deadline_ns, instance}
    running {init_pid, init_started, containment, epoch}
    armed {epoch, deadline_ns}   refused {code, text}   fencing {cause}   down {cause, duration_ms}
agent -> exec guard:
    registered {}   deadline {epoch, term_at_ns, kill_at_ns, deadline_ns}   stop {grace_ms}   error {code, text}
One line of JSON each (line_codec). An unknown type is refused by both sides: guard and agent come from one
distribution, and `version` says so when they do not.
"""

from __future__ import annotations

from agents.fencing import message_fields
from agents.fencing.authority import EPOCH_MAX, Refused
from agents.fencing.line_codec import BadLine, Message, decode

VERSION = 1
GROUP_CHARS_MAX = 63
PID_MAX = 1 << 22
START_TIME_MAX = (1 << 63) - 1
DURATION_MS_MAX = 1 << 40
INSTANCE_MAX = (1 << 56) - 1

FROM_EXEC = ("register", "running", "armed", "refused", "fencing", "down")
FROM_AGENT = ("registered", "deadline", "stop", "error")


def from_exec(line: bytes) -> Message:
    """A checked message of an exec guard; raises Refused."""
    message = _known(line, FROM_EXEC)
    kind = message["type"]
    if kind == "register":
        message_fields.integer(message, "version", VERSION, VERSION)
        if message.get("kind") != "exec":
            raise message_fields.bad("kind", "must be 'exec'")
        message_fields.text(message, "group", GROUP_CHARS_MAX)
        message_fields.integer(message, "pid", 1, PID_MAX)
        message_fields.integer(message, "epoch", 0, EPOCH_MAX)
        message_fields.integer(message, "deadline_ns", 0, message_fields.INSTANT_NS_MAX)
        message.setdefault("instance", 0)  # guards that were started by an earlier version have none
        message_fields.integer(message, "instance", 0, INSTANCE_MAX)
    elif kind == "running":
        message_fields.integer(message, "init_pid", 1, PID_MAX)
        message_fields.integer(message, "init_started", 0, START_TIME_MAX)
        message_fields.integer(message, "epoch", 1, EPOCH_MAX)
        message_fields.text(message, "containment")
    elif kind == "armed":
        message_fields.integer(message, "epoch", 1, EPOCH_MAX)
        message_fields.integer(message, "deadline_ns", 1, message_fields.INSTANT_NS_MAX)
    elif kind == "refused":
        message_fields.text(message, "code")
        message_fields.text(message, "text")
    else:
        message_fields.text(message, "cause")
        if kind == "down":
            message_fields.integer(message, "duration_ms", 0, DURATION_MS_MAX)
    return message


def from_agent(line: bytes) -> Message:
    """A checked message of the agent; raises Refused."""
    message = _known(line, FROM_AGENT)
    kind = message["type"]
    if kind == "deadline":
        message_fields.rungs(message)
    elif kind == "stop":
        message_fields.integer(message, "grace_ms", 0, message_fields.GRACE_MS_MAX)
    elif kind == "error":
        message_fields.text(message, "code")
        message_fields.text(message, "text")
    return message


def _known(line: bytes, kinds: tuple[str, ...]) -> Message:
    try:
        message = decode(line)
    except BadLine as error:
        raise Refused("bad-message", str(error)) from None
    if message.get("type") not in kinds:
        raise Refused("unknown-type", f"type: one of {', '.join(kinds)}")
    return message


def register(group: str, pid: int, epoch: int, deadline_ns: int, instance: int = 0) -> Message:
    """With `deadline_ns` 0 nothing runs; otherwise something may, until then, whoever allowed it."""
    return {
        "type": "register",
        "version": VERSION,
        "kind": "exec",
        "group": group,
        "pid": pid,
        "epoch": epoch,
        "deadline_ns": deadline_ns,
        "instance": instance,
    }


def running(init: tuple[int, int], containment: str, epoch: int) -> Message:
    return {
        "type": "running",
        "init_pid": init[0],
        "init_started": init[1],
        "containment": containment,
        "epoch": epoch,
    }


def down(cause: str, duration_ms: int) -> Message:
    return {"type": "down", "cause": cause[: message_fields.TEXT_CHARS_MAX], "duration_ms": duration_ms}


def error(code: str, text: str) -> Message:
    return {"type": "error", "code": code, "text": text[: message_fields.TEXT_CHARS_MAX]}
