"""The durable lower bound of epochs on this host: the highest acted upon, and the last that was finished.

Rule: never goes back, is on disk before it is relied upon, and a damaged file is an error that names the remedy,
never a fresh start: an agent that forgot its bound would act on an old grant. A missing file is a host that never
acted (DESIGN section 3: "the end of an epoch is final").
Rejected: SQLite (one row does not need it, and the file must be readable when everything else is broken).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from proto.edge.atomic_file import write_atomic
from proto.errors import LocalFault
from proto.invariants import require
from proto.units import EPOCH_MAX, Epoch, GroupId

VERSION = 1
FILE_BYTES_MAX = 4_096


class EpochFileDamaged(LocalFault):
    """The bound cannot be read; the agent of this group must not activate."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}. The highest epoch this host acted upon is unknown, so it stays inactive. Remedy: never "
            f"put an older copy back. Make sure that nothing of its groups runs here, stop the agent, move all of "
            f"{path.parent} aside and start it: its new store brings the quarantine store-changed, lift that when you "
            f"have looked"
        )


@dataclass(frozen=True, slots=True)
class EpochBounds:
    """`bound` >= `finished`: the highest epoch acted upon, and the last one whose authority ended here for good."""

    bound: Epoch
    finished: Epoch


NOTHING_SEEN = EpochBounds(Epoch(0), Epoch(0))


class EpochFile:
    """One group's file. Blocking and synced; owned by one agent process."""

    def __init__(self, state_dir: Path, group: GroupId) -> None:
        self.path = state_dir / f"{group}.epoch"
        self._group = group
        self._stored = self._load()

    @property
    def bounds(self) -> EpochBounds:
        return self._stored

    def store(self, bounds: EpochBounds) -> None:
        """Returns when it is on disk. Raises DurabilityLost when it may not be."""
        old = self._stored
        require(bounds.bound >= old.bound, f"epoch bound would go back from {old.bound} to {bounds.bound}")
        require(
            bounds.finished >= old.finished, f"finished epoch would go back from {old.finished} to {bounds.finished}"
        )
        require(bounds.finished <= bounds.bound, f"finished {bounds.finished} is above the bound {bounds.bound}")
        if bounds == old:
            return
        write_atomic(self.path, _to_bytes(self._group, bounds))
        self._stored = bounds

    def _load(self) -> EpochBounds:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return NOTHING_SEEN
        except OSError as error:
            raise EpochFileDamaged(self.path, f"cannot be read: {error.strerror}") from error
        return _from_bytes(self.path, self._group, data)


def _body(group: str, bounds: EpochBounds) -> dict[str, object]:
    return {"version": VERSION, "group": group, "bound": bounds.bound, "finished": bounds.finished}


def _digest(body: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _to_bytes(group: str, bounds: EpochBounds) -> bytes:
    body = _body(group, bounds)
    return json.dumps({**body, "sha256": _digest(body)}).encode() + b"\n"


def _from_bytes(path: Path, group: str, data: bytes) -> EpochBounds:
    try:
        fields = json.loads(data[:FILE_BYTES_MAX])
    except ValueError:
        raise EpochFileDamaged(path, "is not a complete JSON object") from None
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        raise EpochFileDamaged(path, f"is not an epoch file of version {VERSION}")
    bound, finished = fields.get("bound"), fields.get("finished")
    if type(bound) is not int or type(finished) is not int or not 0 <= finished <= bound <= EPOCH_MAX:
        raise EpochFileDamaged(path, "holds epochs out of range")
    bounds = EpochBounds(Epoch(bound), Epoch(finished))
    body = _body(group, bounds)
    if fields != {**body, "sha256": _digest(body)}:
        raise EpochFileDamaged(path, f"has a wrong checksum, or is not of group {group}")
    return bounds
