"""`witness backup` and `witness restore` as they stand on the command line: options in, lines out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from proto import limits
from proto.edge.config_types import duration_words, parse_duration_ms
from proto.errors import BadValue
from proto.units import NO_LINEAGE
from witness.backup.layout import Backup, verify_file
from witness.backup.restoring import PHRASE, Wish, explain, perform, plan_restore, require_phrase
from witness.backup.take import take_backup
from witness.config import load_witness_config
from witness.settings import WitnessSettings

Say = Callable[[str], None]
DEFAULT_TTL = duration_words(limits.TTL_MS_MAX)
DEFAULT_LOCK_DELAY = duration_words(limits.LOCK_DELAY_MS_MAX)


class Progress:
    """How far the ledger is, on stderr: one line that is written over on a terminal, else one for each tenth."""

    def __init__(self) -> None:
        self._tenths = 0

    def __call__(self, done: int, every: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rledger   {done} of {every} events")
        elif every and done * 10 // every > self._tenths:
            self._tenths = done * 10 // every
            sys.stderr.write(f"ledger   {done} of {every} events\n")

    def end(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + " " * 60 + "\r")


def back_up(config: Path, out: Path, say: Say) -> None:
    back_up_settings(load_witness_config(config), out, say)


def back_up_settings(settings: WitnessSettings, out: Path, say: Say) -> None:
    progress = Progress()
    taken = take_backup(settings, out, progress)
    progress.end()
    say(f"backup      {out}   mode 0600, written and read back")
    for line in describe(taken.backup):
        say(line)
    if taken.warning:
        say(f"note        {taken.warning}")


def check_file(path: Path, say: Say) -> None:
    progress = Progress()
    backup = verify_file(path, "--verify", progress)
    progress.end()
    say(f"backup      {path}   whole and unchanged")
    for line in describe(backup):
        say(line)


def describe(backup: Backup) -> Iterator[str]:
    header = backup.header
    lineage = "none: never restored" if header.lineage == NO_LINEAGE.hex() else header.lineage
    yield f"cluster     {header.cluster}   witnesses {', '.join(backup.state.witnesses)}"
    yield f"taken       {header.made} from {header.witness} by {header.program}"
    yield f"state       entry {header.index}, term {header.term}, {len(backup.state.groups)} groups"
    yield f"lineage     {lineage}   generation {header.generation}, feature level {header.feature_level}"
    yield f"ledger      {backup.events} events, up to {header.events}, chain unbroken"
    for first, last in backup.lacking:
        yield f"            events {first} to {last} are not in it: this witness never had them"


def restore_witness(config: Path, wish: Wish, confirm: str | None, say: Say, ask: Callable[[str], str]) -> None:
    settings = load_witness_config(config)
    progress = Progress()
    plan = plan_restore(settings, wish, progress)
    progress.end()
    for line in explain(settings, plan):
        say(line)
    require_phrase(ask(f"Type '{PHRASE}' to restore this witness") if confirm is None else confirm)
    for line in perform(settings, plan):
        say(line)


def wish_of(source: Path | None, *, without: bool, lineage: str, longest_ttl: str, longest_lock_delay: str) -> Wish:
    """Raises BadValue with the option's name."""
    if (source is None) is not without:
        rule = "one of --from FILE and --without-backup is needed, not both"
        raise BadValue("--from", "" if source is None else str(source), rule, "name the newest backup")
    ttl_ms = _duration("--longest-ttl", longest_ttl, limits.TTL_MS_MIN, limits.TTL_MS_MAX)
    delay_ms = _duration("--longest-lock-delay", longest_lock_delay, 0, limits.LOCK_DELAY_MS_MAX)
    return Wish(source, lineage, ttl_ms, delay_ms)


def _duration(option: str, text: str, low_ms: int, high_ms: int) -> int:
    try:
        value_ms = parse_duration_ms(text)
    except ValueError as error:
        raise BadValue(
            option, text, "a duration is a number with a unit: ms, s or m", "write for example 30s"
        ) from error
    if not low_ms <= value_ms <= high_ms:
        rule = f"must lie between {duration_words(low_ms)} and {duration_words(high_ms)}, as no group can have another"
        raise BadValue(option, text, rule, "choose the longest that any group had")
    return value_ms
