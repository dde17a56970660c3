"""What is said between an agent and its guard, checked in one place; documented in full in docs for operators.

agent -> guard, each with a request number `req`:
    deadline {epoch, term_at_ns, kill_at_ns, deadline_ns}    run {step_id, argv, env, cwd, log_path, timeout_ms}
    cancel {step_id}    stop {grace_ms}    fence {}    status {}    bind {holder}
guard -> agent:
    ready {...}   armed {req, epoch, deadline_ns}   accepted {req}   status {req, ...}   error {req, code, text}
    step_done {step_id, exit_code | signal | error, timed_out, cancelled}   fencing {cause}   down {cause, duration_ms}
All instants are CLOCK_BOOTTIME of this host. A deadline and an epoch are all that ever reaches a guard, never a
heartbeat: what a guard cannot misread it cannot misjudge.
"""

from __future__ import annotations

from agents.fencing import message_fields
from agents.fencing.authority import Refused
from agents.fencing.line_codec import Message

REQUESTS = ("deadline", "run", "cancel", "stop", "fence", "status", "bind")
REQUEST_NUMBER_MAX = (1 << 53) - 1


def check_request(message: Message) -> str:
    """The type of a well-formed request; raises Refused that names what is wrong."""
    kind = message.get("type")
    if kind not in REQUESTS:
        raise Refused("unknown-type", f"type: one of {', '.join(REQUESTS)}")
    message_fields.integer(message, "req", 0, REQUEST_NUMBER_MAX)
    if kind == "run":
        _check_run(message)
    elif kind == "bind":
        message_fields.text(message, "holder")
    elif kind == "cancel":
        message_fields.text(message, "step_id")
    elif kind == "stop":
        message_fields.integer(message, "grace_ms", 0, message_fields.GRACE_MS_MAX)
    return str(kind)


def _check_run(message: Message) -> None:
    message_fields.text(message, "step_id")
    message_fields.texts(message, "argv")
    message_fields.environment(message, "env")
    message_fields.integer(message, "timeout_ms", 0, message_fields.TIMEOUT_MS_MAX)
    for field in ("cwd", "log_path"):
        if not message_fields.text(message, field, 4_096).startswith("/"):
            raise message_fields.bad(field, "must be an absolute path")
