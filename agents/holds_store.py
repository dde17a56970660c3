"""What an agent keeps on disk for holds: of each group the last promise that it gave, and whose holds a holder needs.

Rules. A promise is on disk before its answer leaves (DESIGN section 6). Its instants are of one boot: read back in
another one they are taken for passed, because the new process is a cold start there and waits in full
(agents/core/holds_given.py), as it does when a file is missing, damaged, or of an older time: nothing rests on it
alone.
Rejected: refusing to start on a damaged file (a dormant site would be lost to a group that may need it at once).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agents.core.promise import Promise
from proto.edge.atomic_file import read_capped, write_atomic
from proto.edge.logs import get_logger
from proto.errors import BadValue
from proto.groups import WitnessLoss
from proto.lease import LeaseConstants
from proto.messages import GroupSites
from proto.permit import PermitTerms
from proto.units import Chain, Claim, Epoch, GroupId, Incarnation, InstantNs, SiteId

VERSION = 1
FILE_BYTES_MAX = 4_096

log = get_logger("agents.store")


class HoldsStore:
    """Blocking and synced; owned by one agent process."""

    def __init__(self, state_dir: Path, groups: Iterable[GroupId], boot_id: str) -> None:
        self._dir = state_dir
        self._boot_id = boot_id
        self.promises: Mapping[GroupId, Promise] = {}
        """As they were at the start."""
        self.sites: Mapping[GroupId, GroupSites] = {}
        """As they were at the start."""
        names = tuple(groups)
        promises = ((group, self._load_promise(group)) for group in names)
        self.promises = {group: promise for group, promise in promises if promise is not None}
        sites = ((group, self._load_sites(group)) for group in names)
        self.sites = {group: found for group, found in sites if found is not None}

    def store_promise(self, group: GroupId, promise: Promise) -> None:
        """Returns when it is on disk. Raises DurabilityLost when it may not be."""
        body = {
            "site": promise.site,
            "incarnation": promise.incarnation.hex(),
            "epoch": promise.epoch,
            "claim": promise.claim.hex(),
            "number": promise.number,
            "chain": promise.chain.hex(),
            "constants": dataclasses.astuple(promise.constants),
            "until_ns": promise.until,
            "until_raw_ns": promise.until_raw_ns,
            "over": promise.over,
            "boot_id": self._boot_id,
        }
        self._write(group, "promise", body)

    def store_sites(self, group: GroupId, found: GroupSites) -> None:
        """Returns when it is on disk. Raises DurabilityLost when it may not be."""
        body = {
            "configuration": found.version,
            "sites": list(found.sites),
            "witness_loss": found.witness_loss.value,
            "wait": None if found.wait is None else dataclasses.astuple(found.wait),
            "permits": dataclasses.astuple(found.permits),
            "constants": None if found.constants is None else dataclasses.astuple(found.constants),
        }
        self._write(group, "sites", body)

    # -- reading ------------------------------------------------------------------------------------------

    def _load_promise(self, group: GroupId) -> Promise | None:
        body = self._read(group, "promise")
        if body is None:
            return None
        try:
            same_boot = body["boot_id"] == self._boot_id
            return Promise(
                site=SiteId(body["site"]),
                incarnation=Incarnation(bytes.fromhex(body["incarnation"])),
                epoch=Epoch(body["epoch"]),
                claim=Claim(bytes.fromhex(body["claim"])),
                number=body["number"],
                chain=Chain(bytes.fromhex(body["chain"])),
                constants=LeaseConstants(*body["constants"]),
                until=InstantNs(body["until_ns"] if same_boot else 0),
                until_raw_ns=body["until_raw_ns"] if same_boot else 0,
                over=body["over"],
            )
        except (KeyError, TypeError, ValueError) as error:
            self._unusable(group, "promise", repr(error))
            return None

    def _load_sites(self, group: GroupId) -> GroupSites | None:
        body = self._read(group, "sites")
        if body is None:
            return None
        try:
            wait = None if body["wait"] is None else LeaseConstants(*body["wait"])
            sites = tuple(SiteId(site) for site in body["sites"])
            constants = None if body["constants"] is None else LeaseConstants(*body["constants"])
            loss, permits = WitnessLoss(body["witness_loss"]), PermitTerms(*body["permits"])
            return GroupSites(group, body["configuration"], sites, loss, wait, permits, constants)
        except (KeyError, TypeError, ValueError) as error:
            self._unusable(group, "sites", repr(error))
            return None

    def _path(self, group: GroupId, kind: str) -> Path:
        return self._dir / f"{group}.{kind}"

    def _read(self, group: GroupId, kind: str) -> dict[str, Any] | None:
        try:
            fields = json.loads(read_capped(self._path(group, kind), FILE_BYTES_MAX))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, BadValue) as error:
            self._unusable(group, kind, str(error))
            return None
        if not isinstance(fields, dict) or fields.pop("sha256", "") != _digest(fields):
            self._unusable(group, kind, "wrong checksum")
            return None
        if (fields.pop("version", None), fields.pop("group", None)) != (VERSION, group):
            self._unusable(group, kind, "another version, or of another group")
            return None
        return fields

    def _unusable(self, group: GroupId, kind: str, why: str) -> None:
        log.warning("file_unusable", path=str(self._path(group, kind)), why=why, consequence="as if it was missing")

    def _write(self, group: GroupId, kind: str, body: dict[str, Any]) -> None:
        fields = {"version": VERSION, "group": group, **body}
        data = json.dumps({**fields, "sha256": _digest(fields)}).encode() + b"\n"
        write_atomic(self._path(group, kind), data)


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
