"""`site-agent wrap`: shows, writes or removes the drop-ins that bring systemd units under a guard.

Rule: nothing is written for any unit while one is refused; nothing but the drop-in is ever written, and systemd is
never called: what is left to do is printed. A unit that a boot, a timer, a socket, a message or another unit would
start is refused, because a wrapped unit must be started by the activation steps and by nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.config import load_agent_config
from agents.fencing.exec_options import RUNTIME_DIR
from agents.units.drop_in import DROP_IN, DropIn, Front, make_drop_in
from agents.units.names import unit_type
from agents.units.starters import Starters
from agents.units.tree import UnitTree
from proto.edge.atomic_file import write_atomic
from proto.errors import BadValue, LocalFault
from proto.units import check_name

DIRECTORY_MODE = 0o755
FILE_MODE = 0o644
MADE_BY = b"# Made by `site-agent wrap"


class WrapRefused(LocalFault):
    """Nothing was written; the text has every reason, with its remedy."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    group: str
    write: bool
    undo: bool
    config: Path | None
    root: Path


def run(units: Sequence[str], request: Request) -> Iterator[str]:
    """Yields what is to be said. Raises BadValue, ConfigRefused, WrapRefused or LocalFault."""
    tree = UnitTree(request.root.absolute())
    if request.undo:
        yield from undo(tree, units)
        yield "then: systemctl daemon-reload"
        return
    wrappings = plan_wrap(tree, units, _front(request))
    yield from show(wrappings)
    if request.write:
        yield from write(wrappings)
    else:
        yield "nothing is written yet: say --write"
    yield next_steps([one.drop_in.unit for one in wrappings])


def _front(request: Request) -> Front:
    """Raises BadValue for a group that no agent serves."""
    if request.config is None:
        if not request.group:
            rule, remedy = "says whose lease the units need", "say --group GROUP, or -c with the agent's file"
            raise BadValue("--group", "", rule, remedy)
        return Front(agent_program(), check_name(request.group, "--group"))
    settings = load_agent_config(request.config)
    groups = [str(one.group) for one in settings.groups]
    group = request.group or (groups[0] if len(groups) == 1 else "")
    if group not in groups:
        rule, remedy = f"is no group of {request.config}", f"say --group with one of {', '.join(groups)}"
        raise BadValue("--group", group, rule, remedy)
    socket = "" if settings.runtime_dir == Path(RUNTIME_DIR) else str(settings.exec_socket)
    return Front(agent_program(), group, socket, str(settings.runtime_dir))


@dataclass(frozen=True, slots=True)
class Wrapping:
    """One unit's drop-in and where it goes."""

    drop_in: DropIn
    path: Path
    shown: str


def plan_wrap(tree: UnitTree, names: Sequence[str], front: Front) -> list[Wrapping]:
    """Raises WrapRefused with what stands against any of them."""
    made: list[Wrapping] = []
    problems: list[str] = []
    passwd = _text(tree.root / "etc/passwd")
    starters = Starters(tree)
    for name in names:
        unit = tree.load(name, without=DROP_IN)
        if unit is None or unit_type(name) != "service":
            problems.append(f"{name}: no service of that name; give the full name, for example api-server.service")
            continue
        drop_in = make_drop_in(unit, front, passwd)
        problems += [f"{unit.name}: {reason}" for reason in drop_in.refusals]
        problems += [f"{unit.name}: {way.words}: {way.remedy}" for way in starters.of(unit)]
        path = drop_in_path(tree, unit.name)
        made.append(Wrapping(drop_in, path, tree.shown(path)))
    if problems:
        raise WrapRefused(
            "nothing is written, because a wrapped unit may be started by the lease alone:\n" + "\n".join(problems)
        )
    return made


def drop_in_path(tree: UnitTree, name: str) -> Path:
    return tree.root / "etc/systemd/system" / f"{tree.identity(name)}.d" / DROP_IN


def write(wrappings: Sequence[Wrapping]) -> Iterator[str]:
    """Each line says what was done. Raises LocalFault."""
    for one in wrappings:
        try:
            one.path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            write_atomic(one.path, one.drop_in.text.encode(), mode=FILE_MODE)
        except OSError as error:
            raise LocalFault(f"{one.shown} cannot be written: {error.strerror}: run as root") from error
        yield f"wrote {one.shown}"


def undo(tree: UnitTree, names: Sequence[str]) -> Iterator[str]:
    """Removes only what was made here. Raises LocalFault."""
    for name in names:
        path = drop_in_path(tree, name)
        shown = tree.shown(path)
        try:
            if not path.read_bytes().startswith(MADE_BY):
                raise LocalFault(f"{shown} was not made by `site-agent wrap`: look at it, and remove it by hand")
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except FileNotFoundError:
            yield f"{name} is not wrapped: there is no {shown}"
        except OSError as error:
            raise LocalFault(f"{shown} cannot be removed: {error.strerror}: run as root") from error
        else:
            yield f"removed {shown}"


def show(wrappings: Sequence[Wrapping]) -> Iterator[str]:
    for one in wrappings:
        yield f"# {one.shown}"
        yield one.drop_in.text
        yield from (f"note: {note}" for note in one.drop_in.notes)
        yield ""


def next_steps(names: Sequence[str]) -> str:
    return (
        "then: systemctl daemon-reload; stop what runs without the lease; let an activation step call\n"
        f"      systemctl start {' '.join(names)}\n"
        "      and set `under_exec: true` for these components in the agent's configuration"
    )


def agent_program() -> str:
    """Absolute, as systemd wants it."""
    return shutil.which("site-agent") or "/usr/local/bin/site-agent"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
