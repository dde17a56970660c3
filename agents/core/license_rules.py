"""(11) The key in place against the sealed ones: what is done before the platform starts (docs/adr/0022).

Rule: the newest sealed key is what the platform may start with. In place already: nothing is done. An older sealed key
in place, or none at all: it is restored. A key that this site does not know is either the successor of the newest, read
by no watcher before its site died, or one that is dead since long; the license of a platform that starts with a dead
key is lost. It is the successor when this very place held the newest key before: what follows it there came later.
Otherwise the activation is refused before anything began, and an operator decides; the configuration may decide so
beforehand. A newer sealed key that does not open here makes everything older a dead one.

Rejected: always restore (kills the license when the key was exchanged just before, and replication was faster), always
keep (what an old backup brought back would be started with), the clock of a database row (none of ours, and copied
with the row).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.license import EscrowVersion, version_words


class InPlace(Enum):
    """What the source shows, compared with everything sealed that opens here."""

    ABSENT = "absent"
    """Nothing, or what cannot be a key by its size or pattern."""
    NEWEST = "newest"
    OLDER = "older"
    UNKNOWN = "unknown"


class Doing(Enum):
    NOTHING = "nothing"
    """The newest key is in place."""
    RESTORE = "restore"
    KEEP = "keep"
    """The key in place is used as it is; once active it is sealed as the next version."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Known:
    """What this site knows of one license."""

    newest: EscrowVersion | None
    """The newest sealed key that opens here."""
    heard: EscrowVersion | None
    """The newest that was ever kept here, whether it opens or not."""
    seen: EscrowVersion | None
    """The last version that was seen in this very place."""
    required: bool
    when_unknown: Doing = Doing.REFUSE
    accepted: bool = False
    """An operator said that the key in place is the right one."""
    damaged: bool = False
    """The store on this site could not be read: what it held is not known."""
    restorable: bool = True
    """There is a sink."""


@dataclass(frozen=True, slots=True)
class Judgement:
    doing: Doing
    words: str


def judge(found: InPlace, known: Known) -> Judgement:
    if known.accepted and found is not InPlace.ABSENT:
        return Judgement(Doing.KEEP, "an operator accepted the key in place")
    if known.damaged and known.newest is None and known.required:
        return _refuse("the store of sealed keys is damaged, so nobody can tell which key is the newest")
    if known.heard is not None and (known.newest is None or known.newest < known.heard):
        return _behind(found, known, known.heard)
    if known.newest is None:
        if found is InPlace.ABSENT:
            return _refuse("there is no key in place, and none was ever sealed")
        return Judgement(Doing.KEEP, "no key was ever sealed: the one in place is the first")
    return _compared(found, known, known.newest)


def _behind(found: InPlace, known: Known, heard: EscrowVersion) -> Judgement:
    """The newest cannot be opened, so whatever can be is dead; what is in place may be anything."""
    words = f"the newest sealed key, version {version_words(heard)}, does not open here: its sealing key is missing"
    if known.required or found in (InPlace.ABSENT, InPlace.NEWEST, InPlace.OLDER):
        return _refuse(words)
    return Judgement(Doing.KEEP, f"{words}; escrow is optional, so the key in place is used")


def _compared(found: InPlace, known: Known, newest: EscrowVersion) -> Judgement:
    version = version_words(newest)
    if found is InPlace.NEWEST:
        return Judgement(Doing.NOTHING, f"the newest key, version {version}, is in place")
    if found is not InPlace.UNKNOWN:
        was = "an older key was in place" if found is InPlace.OLDER else "no key was in place"
        return _restore(f"{was}: version {version} is restored", known)
    if known.seen == newest:
        return Judgement(Doing.KEEP, f"the key in place came after version {version} here: it is used")
    if known.when_unknown is Doing.KEEP:
        return Judgement(Doing.KEEP, "the key in place is not known; the configuration says to keep it")
    if known.when_unknown is Doing.RESTORE:
        return _restore(f"the key in place was not known; version {version} is restored as configured", known)
    return _refuse(
        f"the key in place is none that this site knows, and it did not follow version {version} here: it may be "
        "newer, or dead since long"
    )


def _restore(words: str, known: Known) -> Judgement:
    if not known.restorable:
        return _refuse("another key than the newest is in place, and there is no sink to restore it")
    return Judgement(Doing.RESTORE, words)


def _refuse(words: str) -> Judgement:
    return Judgement(Doing.REFUSE, words)
