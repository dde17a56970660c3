"""On disk before the first member of an epoch is handed authority: to whom, and for how long at most.

Rule: a lead that starts anew waits for everybody who is named here (agents/core/members.py). The file is of no use to
anybody else, and stays until the next epoch replaces it. One that cannot be read counts as the longest lease to every
member that the configuration names; whom it named beyond that is not known, and an alarm says so.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from proto.edge.atomic_file import read_capped, write_atomic
from proto.edge.logs import get_logger
from proto.errors import BadValue
from proto.limits import TTL_MS_MAX
from proto.units import EPOCH_MAX, Epoch, GroupId, MemberName

VERSION = 1
FILE_BYTES_MAX = 64 * 1024

Handed = tuple[Epoch, int, tuple[MemberName, ...]]
"""Epoch, ttl in milliseconds, members."""

log = get_logger("agents.members")


class HandedFile:
    """One group's. Blocking and synced; owned by one agent process."""

    def __init__(self, state_dir: Path, group: GroupId) -> None:
        self.path = state_dir / f"{group}.members"
        self._group = group

    def load(self, members: tuple[MemberName, ...]) -> Handed | None:
        """None: nothing was ever handed out by this host."""
        try:
            fields = json.loads(read_capped(self.path, FILE_BYTES_MAX))
            body = {name: value for name, value in fields.items() if name != "sha256"}
            if fields["sha256"] != _digest(body) or (body["version"], body["group"]) != (VERSION, self._group):
                raise ValueError("a wrong checksum, version or group")
            return Epoch(_whole(body["epoch"], EPOCH_MAX)), _whole(body["ttl_ms"], TTL_MS_MAX), _names(body["members"])
        except FileNotFoundError:
            return None
        except (OSError, BadValue, AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"{self.path} cannot be used ({error}): {TTL_MS_MAX // 1_000} s are waited for every member"
            log.error("handed_file", group=self._group, why=why)  # noqa: TRY400 - the words are what matters
            return Epoch(EPOCH_MAX), TTL_MS_MAX, members

    def store(self, epoch: Epoch, ttl_ms: int, members: tuple[MemberName, ...]) -> None:
        """Returns when it is on disk; raises DurabilityLost."""
        body = {
            "version": VERSION,
            "group": self._group,
            "epoch": epoch,
            "ttl_ms": ttl_ms,
            "members": sorted(members),
        }
        write_atomic(self.path, json.dumps({**body, "sha256": _digest(body)}).encode() + b"\n")


def _digest(body: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no whole number up to {most}")
    return value


def _names(value: object) -> tuple[MemberName, ...]:
    if not isinstance(value, list):
        raise TypeError("members is no list")
    return tuple(MemberName(str(one)) for one in value)
