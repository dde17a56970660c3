"""On disk before a member's process is handed authority: which process of which member, and for how long at most.

Rule: a lead that starts anew waits for everybody who is named here (agents/core/members.py). The file is of no use to
anybody else, and stays until the next epoch replaces it. One that cannot be read counts as the longest lease to some
process of every member that the configuration names; whom it named beyond that is not known, and an alarm says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from agents.core.members import ANYBODY, Handed
from proto.edge.atomic_file import read_capped, write_atomic
from proto.edge.logs import get_logger
from proto.errors import BadValue
from proto.limits import TTL_MS_MAX
from proto.units import EPOCH_MAX, TOKEN_BYTES, Epoch, GroupId, MemberName

VERSION = 2
FILE_BYTES_MAX = 64 * 1024

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
            return (
                Epoch(_whole(body["epoch"], EPOCH_MAX)),
                _whole(body["ttl_ms"], TTL_MS_MAX),
                _processes(body["members"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, BadValue, AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"{self.path} cannot be used ({error}): {TTL_MS_MAX // 1_000} s are waited for every member"
            log.error("handed_file", group=self._group, why=why)  # noqa: TRY400 - the words are what matters
            return Epoch(EPOCH_MAX), TTL_MS_MAX, dict.fromkeys(members, ANYBODY)

    def store(self, epoch: Epoch, ttl_ms: int, processes: Mapping[MemberName, bytes]) -> None:
        """Returns when it is on disk; raises DurabilityLost."""
        body = {
            "version": VERSION,
            "group": self._group,
            "epoch": epoch,
            "ttl_ms": ttl_ms,
            "members": {name: instance.hex() for name, instance in sorted(processes.items())},
        }
        write_atomic(self.path, json.dumps({**body, "sha256": _digest(body)}).encode() + b"\n")


def _digest(body: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no whole number up to {most}")
    return value


def _processes(value: object) -> dict[MemberName, bytes]:
    if not isinstance(value, dict):
        raise TypeError("members is no object")
    found = {MemberName(str(name)): bytes.fromhex(instance) for name, instance in value.items()}
    if any(len(instance) not in (0, TOKEN_BYTES) for instance in found.values()):
        raise ValueError("an instance is of a wrong length")
    return found
