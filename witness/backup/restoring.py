"""`witness restore`: the rule on the screen, a typed confirmation, then one witness of the new life.

Rule: it is for the loss of *all* witnesses. What it must never become is a second cluster beside a living one: so it
refuses a data directory that has a store, refuses while another witness answers, and lets the operator say in words
that none is left. The first machine draws the lineage, which also says when; the others are told it, and make the same
bytes from the same file. Nothing is started here: all are restored first, then all are started.
"""

from __future__ import annotations

import secrets
import socket
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proto.clock import SystemClock
from proto.edge.config_types import duration_words
from proto.errors import BadValue
from proto.features import FEATURE_MAX
from proto.lease import LONGEST_POSSIBLE, LeaseConstants, longest
from proto.units import WallMs
from witness.backup.layout import Backup, BackupRefused, read_events, verify_file
from witness.backup.place import place, require_blank
from witness.core.restore import (
    RANDOM_BYTES,
    Restored,
    begun_ms,
    lineage_words,
    new_lineage,
    read_lineage,
    restore,
)
from witness.core.state import ClusterState
from witness.settings import WitnessSettings

PHRASE: Final = "all witnesses are lost"
CLOCK_SLACK_MS: Final = 3_600_000
"""Clocks of the machines of one restore may differ by this."""
WIDTH: Final = 80
_KNOCK_S: Final = 1.0
LINEAGE_REMEDY: Final = (
    "compare it with what `witness restore` printed on the first machine, then set this machine's clock"
)
_FIRST_TERM: Final = 1
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asks for."""

    source: Path | None
    """None: there is no backup; the cluster begins with nothing but the wait."""
    lineage: str
    """Empty on the first machine."""
    longest_ttl_ms: int
    longest_lock_delay_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, checked and computed; nothing is changed yet."""

    wish: Wish
    backup: Backup | None
    lineage: bytes
    made: Restored

    @property
    def first(self) -> bool:
        return not self.wish.lineage


def plan_restore(settings: WitnessSettings, wish: Wish, tell: Tell) -> Plan:
    """Raises LocalFault or BadValue with the remedy."""
    require_blank(settings)
    _require_silence(settings)
    backup = None if wish.source is None else _read(settings, wish.source, tell)
    now_ms = SystemClock().read().wall_ms
    lineage = _lineage(wish, backup, now_ms)
    claimed = LeaseConstants(wish.longest_ttl_ms, LONGEST_POSSIBLE.drift_max_ppm, wish.longest_lock_delay_ms)
    state = ClusterState() if backup is None else backup.state
    return Plan(wish, backup, lineage, restore(state, lineage, claimed, FEATURE_MAX))


def _read(settings: WitnessSettings, source: Path, tell: Tell) -> Backup:
    backup = verify_file(source, "--from", tell)
    if backup.header.cluster != settings.cluster:
        rule = f"is a backup of cluster {backup.header.cluster}, this witness is configured for {settings.cluster}"
        raise BadValue("--from", str(source), rule, "use a backup of this cluster, or correct `cluster`")
    if backup.state.witnesses != settings.members:
        rule = f"has the witnesses {', '.join(backup.state.witnesses)}, the configuration {', '.join(settings.members)}"
        raise BadValue("--from", str(source), rule, "name the same witnesses; their addresses may be new")
    return backup


def _lineage(wish: Wish, backup: Backup | None, now_ms: WallMs) -> bytes:
    lineage = read_lineage(wish.lineage) if wish.lineage else new_lineage(now_ms, secrets.token_bytes(RANDOM_BYTES))
    begun = begun_ms(lineage)
    if backup is not None and begun + CLOCK_SLACK_MS < backup.header.wall_ms:
        rule = f"was begun before its backup was taken ({backup.header.made}): a clock is wrong"
        if not wish.lineage:
            raise BadValue("clock", lineage.hex(), rule, "set this machine's clock first")
        raise BadValue("--lineage", lineage.hex(), f"{rule}, or it was copied wrong", LINEAGE_REMEDY)
    if begun > now_ms + CLOCK_SLACK_MS:
        rule = "was begun in the future of this machine's clock: a clock is wrong"
        raise BadValue("--lineage", lineage.hex(), rule, "set the clocks, then begin anew on the first machine")
    if backup is not None and lineage.hex() == backup.header.lineage:
        rule = "is the lineage of the backup itself: each restore has its own"
        raise BadValue("--lineage", lineage.hex(), rule, "leave it out on the first machine")
    return lineage


def _require_silence(settings: WitnessSettings) -> None:
    """A witness that answers is not lost. It says nothing about those that cannot be reached from here."""
    for name, where in settings.peers:
        try:
            socket.create_connection((where.host, where.port), _KNOCK_S).close()
        except OSError:
            continue
        raise BackupRefused(
            f"{name} answers at {where.host}:{where.port}, so not all witnesses are lost: while a majority lives, "
            "readmit this one (`witness readmit`); else stop every witness, restore all of them, and start them then"
        )


RULE: Final = (
    "The rule. This is for the loss of all witnesses. While a majority lives, a lost witness is readmitted (`witness "
    "readmit`): restored beside them it would make a second cluster that also decides. If a minority is left that "
    "cannot decide any more, stop it, take the backup from it, and restore all of them. Power off for good whatever is "
    "left of the old ones first."
)
EFFECT: Final = (
    "What it does. What happened after the backup is forgotten: make changes of configuration again. No lease of the "
    "old life can be renewed: a site that is active stops by itself, at the latest when its lease runs out. Nothing is "
    "granted for {wait} after the start, because a lease of up to {lease} may be in force."
)
SHORTER: Final = (
    "If you know that no group had a longer one since the backup was taken, say so, for example with --longest-ttl 30s "
    "--longest-lock-delay 0s. If that is not true, two sites may be active at once."
)


def explain(settings: WitnessSettings, plan: Plan) -> Iterator[str]:
    """The rule, and what this restore does, in lines that fit a terminal."""
    backup, bar = plan.backup, plan.made.bar
    yield "RESTORE OF ALL WITNESSES"
    if backup is None:
        yield "backup        none: the cluster begins empty; apply the groups' files after the start"
    else:
        header = backup.header
        yield f"backup        {plan.wish.source}, taken {header.made} from {header.witness}"
        yield f"contents      entry {header.index}, {len(backup.state.groups)} groups, {backup.events} events"
        yield from (f"              events {first} to {last} are not in it" for first, last in backup.lacking)
    yield f"witness       {settings.witness} in {settings.data_dir}"
    yield f"lineage       {plan.lineage.hex()}{'   (new)' if plan.first else ''}"
    yield f"generation    {plan.made.state.generation}, in the high bits of every epoch from now on"
    paragraphs = [RULE, EFFECT.format(wait=_words(plan.made.wait_s), lease=_lease(bar))]
    if longest(bar, LONGEST_POSSIBLE) == bar:
        paragraphs.append(SHORTER)
    for paragraph in paragraphs:
        yield ""
        yield from textwrap.wrap(paragraph, WIDTH)
    yield ""


def _lease(bar: LeaseConstants) -> str:
    words = duration_words(bar.ttl_ms)
    return words if not bar.lock_delay_ms else f"{words} and a lock delay of {duration_words(bar.lock_delay_ms)}"


def _words(wait_s: float) -> str:
    whole = int(wait_s) + 1
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def perform(settings: WitnessSettings, plan: Plan) -> Iterator[str]:
    """Writes the witness; yields what to do next. Raises LocalFault, and then there is no store."""
    term = _FIRST_TERM if plan.backup is None else plan.backup.header.term + 1
    try:
        if plan.wish.source is None:
            placed = place(settings, plan.made, term, ())
        else:
            with plan.wish.source.open("rb") as file:
                placed = place(settings, plan.made, term, read_events(file))
    except OSError as error:
        raise BackupRefused(f"{settings.data_dir}: {error}; no witness was restored: run the command again") from error
    yield f"restored      {settings.witness} in {settings.data_dir}"
    yield f"fingerprint   {placed.fingerprint[:16]}: must be the same on every witness"
    yield ""
    others = ", ".join(name for name, _ in settings.peers)
    if plan.first and others:
        yield f"next          on each of {others}, with the same file and options, and:"
        yield f"              --lineage {lineage_words(plan.lineage)}"
        yield "then          compare the fingerprints, and start all witnesses"
    else:
        yield "next          when all are restored with the same fingerprint: start all witnesses"
    yield f"              witnessctl status shows the wait of {_words(plan.made.wait_s)}"


def require_phrase(typed: str) -> None:
    if " ".join(typed.split()).lower() != PHRASE:
        raise BadValue("confirmation", typed, f"{PHRASE!r} was expected", "nothing was changed; run it again")
