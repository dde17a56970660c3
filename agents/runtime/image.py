"""One program image of an agent or a member: its command line, the end of its life, and what it becomes then."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import uvloop

from agents.runtime.exit_codes import EXIT_CONFIG, EXIT_CUT_SHORT, EXIT_UNAVAILABLE, EXIT_USAGE
from agents.runtime.life import StopCutShort
from agents.runtime.turn import Successor, Turn, dies_with_parent
from agents.runtime.upgrade import become
from agents.store import AgentRunsAlready
from proto.edge.may_pass import may_pass
from proto.errors import BadValue, LocalFault

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Image(Generic[S]):
    """What differs between the two."""

    module: str
    usage: str
    parse: Callable[[str], S]
    serve: Callable[[S, Path | None, Turn | None], Coroutine[Any, Any, Successor | None]]
    name: Callable[[S], str]


def run_image(image: Image[S], arguments: list[str]) -> int:
    """`--settings-fd N [--stand-in FD | --after FD:PID] [CONFIG]`. Returns the exit code, or does not return."""
    try:
        settings_fd, turn, config = _parsed(arguments)
    except ValueError:
        sys.stderr.write(f"this is started by: {image.usage}\n")
        return EXIT_USAGE
    os.lseek(settings_fd, 0, os.SEEK_SET)  # a stand-in and its parent read it through one description
    with os.fdopen(settings_fd, encoding="utf-8") as stream:
        settings = image.parse(stream.read())
    try:
        successor = uvloop.run(image.serve(settings, config, turn))
    except StopCutShort as error:
        sys.stderr.write(f"{image.name(settings)}: {error}\n")
        return EXIT_CUT_SHORT
    except (BadValue, LocalFault) as error:
        sys.stderr.write(f"{image.name(settings)}: {error}\n")
        passes = may_pass(error) or isinstance(error, AgentRunsAlready)  # that one may be just ending
        return EXIT_UNAVAILABLE if passes else EXIT_CONFIG
    if successor is not None and config is not None:
        become(image.module, config, successor)
    return 0


def _parsed(arguments: list[str]) -> tuple[int, Turn | None, Path | None]:
    """Raises ValueError."""
    flag, fd, *rest = arguments + [""] * (2 - len(arguments))
    if flag != "--settings-fd":
        raise ValueError(flag)
    turn = None
    if rest[:1] == ["--stand-in"]:
        dies_with_parent()
    if rest[:1] in (["--stand-in"], ["--after"]):
        turn, rest = Turn.parse(rest[1]), rest[2:]
    if len(rest) > 1:
        raise ValueError(rest[1])
    return int(fd), turn, Path(rest[0]) if rest else None
