"""One group's plan on disk: written before a step may start and after it has ended, read by the next agent.

Rule: the first line is the plan's header, replaced whole; each further line is one mark, synced before the call
returns. Every line carries a checksum over itself and the line before, so a line that is damaged, moved or of another
plan is noticed. A last line without its end was never relied upon and is dropped; anything else that is wrong is
JournalDamaged, and then nothing is resumed and everything that can be taken back is (agents/actions/unwind.py).
Bounded: the lines of one plan follow from its steps and retries, and a longer file is damaged.
Rejected: SQLite (one writer, a few lines, readable when everything else is broken), replacing the file at each mark
(two syncs more for each step of a takeover).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from agents.core.effects import PlanKind
from agents.core.plan_progress import BadMark, Mark, PlanEnd, PlanHeader, PlanProgress, StepInput, StepMark
from proto.edge.atomic_file import read_capped, sync_directory, write_atomic
from proto.errors import BadValue, DurabilityLost, LocalFault
from proto.units import EPOCH_MAX, Epoch, GroupId

VERSION = 1
FILE_BYTES_MAX = 4 * 1024 * 1024
"""64 steps of 100 retries each, undone with as many, make 2.6 MiB."""
_SUM_CHARS = 32


class JournalDamaged(LocalFault):
    """What a former plan did is not known."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}; what its plan did is unknown")


class PlanJournal:
    """Blocking and synced; owned by one agent process. `progress` is what is on disk."""

    def __init__(self, state_dir: Path, group: GroupId) -> None:
        self.path = state_dir / f"{group}.plan"
        self.progress: PlanProgress | None = None
        self.damage = ""
        self._group = group
        self._last = ""
        self._broken = ""
        """Why the file may lack a mark: until the next plan nothing is added to it."""
        try:
            self.progress = self._load()
        except JournalDamaged as error:
            self.damage = str(error)

    def begin(self, header: PlanHeader) -> None:
        """Replaces the former plan; raises DurabilityLost, and then the former one may still stand."""
        line, last = _sealed(_header_fields(self._group, header), "")
        write_atomic(self.path, line)
        self.progress, self.damage, self._last, self._broken = PlanProgress(header), "", last, ""

    def note(self, mark: Mark) -> None:
        """Returns when it is on disk. Raises BadMark (nothing changed) or DurabilityLost (the line may stand)."""
        if self.progress is None:
            raise BadMark("no plan was begun")
        if self._broken:
            raise DurabilityLost(self._broken)
        self.progress.note(mark)
        line, self._last = _sealed(_mark_fields(mark), self._last)
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                written = os.write(fd, line)
                if written != len(line):
                    raise OSError(0, f"only {written} of {len(line)} bytes were written")
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            self._broken = f"{self.path} could not be extended: {error.strerror or error}"
            raise DurabilityLost(self._broken) from error

    def clear(self) -> None:
        """Proven down and taken back: nothing of the plan matters any more. Raises DurabilityLost."""
        self.progress, self.damage, self._last, self._broken = None, "", "", ""
        try:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
                sync_directory(self.path.parent)
        except OSError as error:
            raise DurabilityLost(f"{self.path} could not be removed: {error.strerror or error}") from error

    def _load(self) -> PlanProgress | None:
        try:
            data = read_capped(self.path, FILE_BYTES_MAX)
        except FileNotFoundError:
            return None
        except (OSError, BadValue) as error:
            raise JournalDamaged(self.path, f"cannot be read: {error}") from error
        *lines, torn = data.split(b"\n")
        if not lines:
            raise JournalDamaged(self.path, "has no header")
        try:
            fields, self._last = _opened(lines[0], "")
            progress = PlanProgress(_header(self._group, fields))
            for line in lines[1:]:
                fields, self._last = _opened(line, self._last)
                progress.note(_mark(fields))
        except (KeyError, TypeError, ValueError) as error:
            raise JournalDamaged(self.path, f"is not a sound journal ({error})") from error
        if torn:
            # Never relied upon; what is written from now on must not be glued to it.
            self._cut(len(data) - len(torn))
        return progress

    def _cut(self, size: int) -> None:
        try:
            os.truncate(self.path, size)
        except OSError as error:
            raise JournalDamaged(self.path, f"ends in half a line that cannot be cut off: {error.strerror}") from error


def _sealed(fields: dict[str, object], last: str) -> tuple[bytes, str]:
    body = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    found = hashlib.sha256((last + body).encode()).hexdigest()[:_SUM_CHARS]
    return f"{found} {body}\n".encode(), found


def _opened(line: bytes, last: str) -> tuple[dict[str, object], str]:
    text = line.decode("ascii")
    found, body = text[:_SUM_CHARS], text[_SUM_CHARS + 1 :]
    if hashlib.sha256((last + body).encode()).hexdigest()[:_SUM_CHARS] != found or text[_SUM_CHARS] != " ":
        raise ValueError("a checksum does not fit")
    fields = json.loads(body)
    if not isinstance(fields, dict):
        raise TypeError("a line is no object")
    return fields, found


def _header_fields(group: GroupId, header: PlanHeader) -> dict[str, object]:
    return {
        "version": VERSION,
        "group": group,
        "plan": header.plan,
        "kind": header.kind.value,
        "epoch": header.epoch,
        "cause": header.cause,
        "incarnation": header.incarnation,
        "boot_id": header.boot_id,
        "began_ns": header.began_ns,
        "steps": list(header.steps),
    }


def _header(group: GroupId, fields: dict[str, object]) -> PlanHeader:
    if fields["version"] != VERSION or fields["group"] != group:
        raise ValueError(f"version {fields['version']}, group {fields['group']}: wanted {VERSION} and {group}")
    steps = fields["steps"]
    if not isinstance(steps, list) or len(set(map(str, steps))) != len(steps):
        raise ValueError("the steps are no list of different names")
    epoch = _whole(fields["epoch"])
    if epoch > EPOCH_MAX:
        raise ValueError("the epoch is out of range")
    return PlanHeader(
        plan=_whole(fields["plan"]),
        kind=PlanKind(fields["kind"]),
        epoch=Epoch(epoch),
        cause=str(fields["cause"]),
        incarnation=str(fields["incarnation"]),
        boot_id=str(fields["boot_id"]),
        began_ns=_whole(fields["began_ns"]),
        steps=tuple(map(str, steps)),
    )


def _mark_fields(mark: Mark) -> dict[str, object]:
    if isinstance(mark, PlanEnd):
        return {"end": mark.value}
    return {"step": mark.step, "input": mark.input.value, "attempt": mark.attempt}


def _mark(fields: dict[str, object]) -> Mark:
    if "end" in fields:
        return PlanEnd(fields["end"])
    return StepMark(str(fields["step"]), StepInput(fields["input"]), _whole(fields["attempt"]))


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value
