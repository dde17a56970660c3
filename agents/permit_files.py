"""What an agent keeps of the break-glass permits of each group: which were used, and which one is in use.

Rule: GROUP.permits is one JSON object with a checksum, replaced whole, on disk before anything follows from a permit. A
damaged one means that nobody can tell what was used, so no permit is taken until somebody looked
(agents/core/permit_desk.py); it does not keep the agent from anything else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agents.core.permit_record import PermitRecord
from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue
from proto.lease import LeaseConstants
from proto.permit import PERMIT_ID_BYTES, PermitMark
from proto.units import EPOCH_MAX, Epoch, GroupId, WallMs

VERSION = 1
FILE_BYTES_MAX = 64 * 1024


class PermitFiles:
    """Blocking and synced; owned by the agent process that holds the state directory's lock."""

    def __init__(self, state_dir: Path, groups: Iterable[GroupId]) -> None:
        self._state_dir = state_dir
        self._groups = tuple(groups)

    def load(self) -> dict[GroupId, PermitRecord]:
        return {group: self._read(group) for group in self._groups}

    def store(self, group: GroupId, record: PermitRecord) -> None:
        """Returns when it is on disk; raises DurabilityLost."""
        current = record.current
        fields: dict[str, Any] = {
            "group": group,
            "used": [one.hex() for one in record.used],
            "current": None if current is None else {"epoch": current.epoch, "permit": current.permit.hex()},
            "wall_seen_ms": record.wall_seen_ms,
        }
        if record.constants is not None:
            fields["constants"] = dataclasses.astuple(record.constants)
        _write(self._path(group), fields)

    def _path(self, group: GroupId) -> Path:
        return self._state_dir / f"{group}.permits"

    def _read(self, group: GroupId) -> PermitRecord:
        path = self._path(group)
        try:
            fields = _fields(path, group)
            return PermitRecord() if fields is None else _record(fields)
        except (KeyError, TypeError, ValueError) as error:
            words = (
                f"{path} is damaged ({error}), so nobody can tell which permits were used here: look at the site's "
                "history, then remove the file and restart the agent"
            )
            return PermitRecord(damaged=words)


def _record(fields: dict[str, Any]) -> PermitRecord:
    current, seen = fields["current"], fields["wall_seen_ms"]
    if type(seen) is not int or seen < 0:
        raise ValueError("wall_seen_ms is no time")
    mark = None if current is None else PermitMark(_epoch(current["epoch"]), _permit(current["permit"]))
    used, constants = tuple(_permit(one) for one in fields["used"]), fields.get("constants")
    lease = None if constants is None else _constants(constants)
    return PermitRecord(used, mark, WallMs(seen), constants=lease)


def _permit(value: str) -> bytes:
    permit = bytes.fromhex(value)
    if len(permit) != PERMIT_ID_BYTES:
        raise ValueError("a permit's id has another length")
    return permit


def _epoch(value: object) -> Epoch:
    if type(value) is not int or not 0 < value <= EPOCH_MAX:
        raise ValueError("an epoch is out of range")
    return Epoch(value)


def _constants(value: object) -> LeaseConstants:
    """Absent in a record of an agent from before they were kept."""
    if not isinstance(value, list) or len(value) != len(dataclasses.fields(LeaseConstants)):
        raise ValueError("constants are of no lease")
    if any(type(one) is not int or one < 0 for one in value):
        raise ValueError("constants are no numbers from 0")
    return LeaseConstants(*value)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _write(path: Path, fields: dict[str, Any]) -> None:
    body = {"version": VERSION, **fields}
    write_atomic(path, json.dumps({**body, "sha256": _digest(body)}).encode() + b"\n")


def _fields(path: Path, group: GroupId) -> dict[str, Any] | None:
    """None when there is no such file; ValueError for one that cannot be used."""
    try:
        fields = json.loads(read_capped(path, FILE_BYTES_MAX))
    except FileNotFoundError:
        return None
    except (OSError, BadValue) as error:
        raise ValueError(str(error)) from error
    body = {name: value for name, value in fields.items() if name != "sha256"} if isinstance(fields, dict) else {}
    if not body or fields.get("sha256") != _digest(body):
        raise ValueError("its checksum is wrong")
    if body.get("version") != VERSION or body.get("group") != group:
        raise ValueError(f"it is not of version {VERSION}, or of another group")
    return body
