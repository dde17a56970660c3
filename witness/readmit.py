"""`witness readmit`: the rule on the screen, a typed confirmation, then a store that follows until it is safe to vote.

Rule: what is in the data directory is put aside, whatever state it is in, and nothing of it is read: a damaged store
could not be, and one that looks whole may be of an earlier time. Nothing is deleted. The new store is a learner's
(witness.raft.standing); the witness that runs on it becomes a voter by itself. Refused while a process holds the
directory, and in a cluster of one, where nobody could bring it up to date.
"""

from __future__ import annotations

import socket
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proto.errors import BadValue
from proto.units import WitnessId
from witness.config import load_witness_config
from witness.raft.posix_disk import as_disk
from witness.raft.store import StoreRefused, create_store, move_aside
from witness.raft.store_checks import STORE_FILES, take_lock
from witness.settings import WitnessSettings

WIDTH: Final = 80
_KNOCK_S: Final = 1.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there, looked at without changing it."""

    settings: WitnessSettings
    files: tuple[str, ...]
    """Of a store; none on a blank disk."""
    answering: frozenset[WitnessId]
    """Peers at whose address somebody listens now."""


def plan_readmission(settings: WitnessSettings) -> Plan:
    """Raises LocalFault with the remedy."""
    if not settings.peers:
        raise StoreRefused(
            f"{settings.witness} is the only witness of its cluster: nobody can bring it up to date; use `witness "
            "restore` with a backup"
        )
    disk = as_disk(settings.data_dir)
    files = tuple(name for name in STORE_FILES if disk.exists(name))
    if settings.data_dir.exists():
        take_lock(disk)()
    return Plan(settings, files, frozenset(name for name, where in settings.peers if _answers(*where)))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _KNOCK_S).close()
    except OSError:
        return False
    return True


WHY: Final = (
    "Why. A disk that was lost, damaged, rolled back or copied may have forgotten a vote that it gave or an entry that "
    "it acknowledged. A witness that votes on with it can let two leaders be elected, and so two sites become active."
)
EFFECT: Final = (
    "What it does. What is stored here is put aside; nothing is deleted. The witness begins blank and learns from the "
    "others; until it votes again it counts for nothing. It votes again by itself once every other witness has "
    "recorded its new disk and a newer term has begun: some seconds when all of them run. While one of them is down it "
    "waits, and that is safe."
)
BEFORE: Final = (
    "Before. The others will refuse the old disk for ever: nothing may run on it or on a copy of it. If a majority of "
    "the witnesses lost their disks, this does not help: see `witness restore`."
)


def explain(plan: Plan) -> Iterator[str]:
    settings = plan.settings
    yield f"READMISSION OF WITNESS {settings.witness}"
    yield f"cluster       {settings.cluster}"
    stored = ", ".join(plan.files) if plan.files else "nothing: a blank disk"
    yield from textwrap.wrap(f"data          {settings.data_dir}: {stored}", WIDTH, subsequent_indent=" " * 14)
    for name, where in settings.peers:
        state = "answers" if name in plan.answering else "DOES NOT ANSWER: the readmission waits for it"
        yield f"{name:<13} {where.host}:{where.port} {state}"
    for paragraph in (WHY, EFFECT, BEFORE):
        yield ""
        yield from textwrap.wrap(paragraph, WIDTH)
    yield ""


def perform(plan: Plan, config: Path) -> Iterator[str]:
    """Raises LocalFault; run again it goes on from there."""
    settings = plan.settings
    aside = move_aside(settings.data_dir)
    if aside is not None:
        yield f"put aside     {aside}"
    create_store(settings.data_dir, settings.cluster, settings.witness, learner=True)
    yield f"created       {settings.data_dir}   of witness {settings.witness}, which learns before it votes"
    yield ""
    yield f"next          start it as usual (witness run -c {config})"
    yield f"watch         witnessctl status: {settings.witness} is a learner and what it waits for stands below;"
    yield '              its log says "readmitted" when it votes again'
    if aside is not None:
        yield f"later         once it votes again, {aside} may be deleted"


def require_name(settings: WitnessSettings, typed: str, field: str) -> None:
    if typed.strip() != settings.witness:
        rule = f"the witness of this configuration is {settings.witness}"
        raise BadValue(field, typed, rule, "nothing was changed; check on which machine you are, then run it again")


def readmit_witness(config: Path, yes: str | None, say: Say, ask: Callable[[str], str]) -> None:
    settings = load_witness_config(config)
    plan = plan_readmission(settings)
    for line in explain(plan):
        say(line)
    if yes is None:
        require_name(settings, ask(f"Type {settings.witness} to readmit this witness"), "confirmation")
    else:
        require_name(settings, yes, "--yes")
    for line in perform(plan, config):
        say(line)
