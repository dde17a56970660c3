"""What an agent keeps for the next process of its incarnation: one small file in the runtime directory.

Rule: it is no authority. It only lets a new process recognise what a living guard still holds
(agents/core/takeover.py), so a file that is missing, old or damaged costs an orderly upgrade and never safety. It holds
claims, which are secrets: mode 0600. The directory is emptied by a reboot; the boot id inside makes sure of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from agents.core.takeover import KeptGroup, KeptIncarnation, Machine
from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue
from proto.lease import LeaseConstants
from proto.units import EPOCH_MAX, Claim, ClusterId, Epoch, GroupId, Incarnation, SiteId

VERSION = 1
NAME = "agent.incarnation"
FILE_BYTES_MAX = 1024 * 1024


class IncarnationFile:
    """Blocking and synced; owned by the agent process that holds the directory's lock."""

    def __init__(self, runtime_dir: Path) -> None:
        self.path = runtime_dir / NAME

    def load(self) -> KeptIncarnation | str:
        """What was kept, or in words why nothing can be read."""
        try:
            data = read_capped(self.path, FILE_BYTES_MAX)
        except FileNotFoundError:
            return "nothing was kept"
        except (OSError, BadValue) as error:
            return f"{self.path} cannot be read: {error}"
        try:
            fields = json.loads(data)
            body = {name: value for name, value in fields.items() if name != "sha256"}
            if fields["sha256"] != _digest(body) or fields["version"] != VERSION:
                return f"{self.path} is damaged, or not of version {VERSION}"
            return _kept(fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return f"{self.path} is damaged: {error!r}"

    def store(self, kept: KeptIncarnation) -> None:
        """Returns when it is on disk; raises DurabilityLost."""
        body = _body(kept)
        write_atomic(self.path, json.dumps({**body, "sha256": _digest(body)}).encode() + b"\n")


def _digest(body: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _body(kept: KeptIncarnation) -> dict[str, object]:
    return {
        "version": VERSION,
        "cluster": kept.cluster,
        "site": kept.site,
        "store_id": kept.store_id.hex(),
        "boot_id": kept.machine.boot_id,
        "generation": kept.machine.generation,
        "incarnation": kept.incarnation.hex(),
        "life": kept.life,
        "groups": {
            name: {
                "epoch": group.epoch,
                "claim": group.claim.hex(),
                "ttl_ms": group.constants.ttl_ms,
                "drift_max_ppm": group.constants.drift_max_ppm,
                "lock_delay_ms": group.constants.lock_delay_ms,
            }
            for name, group in kept.groups.items()
        },
    }


def _kept(fields: dict[str, object]) -> KeptIncarnation:
    groups = fields["groups"]
    if not isinstance(groups, dict):
        raise TypeError("groups is no object")
    return KeptIncarnation(
        cluster=ClusterId(str(fields["cluster"])),
        site=SiteId(str(fields["site"])),
        store_id=bytes.fromhex(str(fields["store_id"])),
        machine=Machine(str(fields["boot_id"]), str(fields["generation"])),
        incarnation=Incarnation(bytes.fromhex(str(fields["incarnation"]))),
        life=_whole(fields["life"]),
        groups={GroupId(name): _group(one) for name, one in groups.items()},
    )


def _group(fields: dict[str, object]) -> KeptGroup:
    epoch = _whole(fields["epoch"])
    if epoch > EPOCH_MAX:
        raise ValueError("an epoch is out of range")
    numbers = (_whole(fields[name]) for name in ("ttl_ms", "drift_max_ppm", "lock_delay_ms"))
    return KeptGroup(Epoch(epoch), Claim(bytes.fromhex(str(fields["claim"]))), LeaseConstants(*numbers))


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value
