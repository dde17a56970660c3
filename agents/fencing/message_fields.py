"""Reading checked fields out of a decoded message; every refusal names the field and the rule."""

from __future__ import annotations

from agents.fencing.authority import EPOCH_MAX, Refused, Rungs
from agents.fencing.line_codec import Message

INSTANT_NS_MAX = (1 << 63) - 1
GRACE_MS_MAX = 600_000
TIMEOUT_MS_MAX = 24 * 3_600_000
TEXT_CHARS_MAX = 512
ARGV_ITEMS_MAX = 1_024
ENV_ITEMS_MAX = 1_024


def bad(field: str, rule: str) -> Refused:
    return Refused("bad-message", f"{field}: {rule}")


def integer(message: Message, field: str, low: int, high: int) -> int:
    value = message.get(field)
    if type(value) is not int or not low <= value <= high:
        raise bad(field, f"must be an integer from {low} to {high}")
    return value


def text(message: Message, field: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    value = message.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= chars_max or "\0" in value:
        raise bad(field, f"must be a text of 1 to {chars_max} characters")
    return value


def texts(message: Message, field: str) -> list[str]:
    value = message.get(field)
    if not isinstance(value, list) or not 0 < len(value) <= ARGV_ITEMS_MAX:
        raise bad(field, f"must be a list of 1 to {ARGV_ITEMS_MAX} texts")
    for item in value:
        if not isinstance(item, str) or "\0" in item:
            raise bad(field, "must contain only texts without NUL")
    return value


def environment(message: Message, field: str) -> dict[str, str]:
    value = message.get(field)
    if not isinstance(value, dict) or len(value) > ENV_ITEMS_MAX:
        raise bad(field, f"must be an object of at most {ENV_ITEMS_MAX} variables")
    for name, content in value.items():
        if not name or "=" in name or "\0" in name or not isinstance(content, str) or "\0" in content:
            raise bad(field, "must map names without '=' to texts without NUL")
    return value


def rungs(message: Message) -> Rungs:
    return Rungs(
        integer(message, "epoch", 1, EPOCH_MAX),
        integer(message, "term_at_ns", 1, INSTANT_NS_MAX),
        integer(message, "kill_at_ns", 1, INSTANT_NS_MAX),
        integer(message, "deadline_ns", 1, INSTANT_NS_MAX),
    )


def rungs_message(value: Rungs) -> Message:
    return {
        "type": "deadline",
        "epoch": value.epoch,
        "term_at_ns": value.term_at_ns,
        "kill_at_ns": value.kill_at_ns,
        "deadline_ns": value.deadline_ns,
    }
