"""Log lines: one set-up for every process, JSON for machines or text for people, never a secret.

A line is an event name and fields. Fields whose name speaks of a secret are replaced before anything is rendered,
bytes appear by their length only, and long values are cut: a log is copied to places that a key must not reach.
Lines of libraries that use the standard logging take the same way out.

Rejected: redacting by the look of a value (it misses keys and mutilates identifiers).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from proto.errors import BadValue

VALUE_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 20_000
FIELDS_DEPTH_MAX = 4
REDACTED = "[redacted]"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_SECRET = re.compile(r"passw|secret|token|credential|cookie|authorization|private|(^|_)(key|nonce|claim|pin)s?$")


def setup_logging(*, level: str = "info", json: bool | None = None, stream: TextIO | None = None) -> None:
    """Call once per process, before the first line. `json=None` means: text on a terminal, else JSON."""
    if level not in LEVELS:
        raise BadValue("log.level", level, f"one of {', '.join(LEVELS)}", "choose 'info' unless you look for a fault")
    out = sys.stderr if stream is None else stream
    as_json = not out.isatty() if json is None else json
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])


def no_logging() -> None:
    """For a command that answers people: what there is to say it says itself, once, and nothing mixes with it."""
    structlog.configure(processors=[_drop])


def _drop(_logger: object, _method: str, _event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raise structlog.DropEvent


def get_logger(name: str, **fields: Any) -> structlog.stdlib.BoundLogger:
    """A logger whose lines all carry `fields`, for example which witness speaks.

    It is bound at its first line: a module may make its logger before `setup_logging` ran.
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name, **fields)
    return logger


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that keeps secrets out, whatever a caller hands in."""
    for field, value in event.items():
        if not field.startswith("_"):  # structlog's own bookkeeping of foreign records
            chars_max = TRACEBACK_CHARS_MAX if field == "exception" else VALUE_CHARS_MAX
            event[field] = REDACTED if _SECRET.search(field.lower()) else _plain(value, chars_max)
    return event


def _plain(value: Any, chars_max: int = VALUE_CHARS_MAX, depth: int = FIELDS_DEPTH_MAX) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, dict) and depth > 0:
        return {
            str(key): REDACTED if _SECRET.search(str(key).lower()) else _plain(inner, depth=depth - 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset) and depth > 0:
        return [_plain(inner, depth=depth - 1) for inner in value]
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= chars_max else text[:chars_max] + "…"
