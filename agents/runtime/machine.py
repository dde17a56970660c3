"""Which machine this is, as far as it tells: its boot, and the generation id of a virtual machine (VMGENID).

A hypervisor changes the generation id when it puts a guest back to a snapshot or starts a copy. Linux shows it where
QEMU's configuration device is there and its driver loaded; elsewhere nothing tells it, and the claim and the clocks
are what notices a copy (docs/adr/0013-the-guard-survives-its-agent.md).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from agents.core.takeover import Machine
from agents.fencing.process_table import boot_id

GENERATION_PATHS = (Path("/sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw"),)
GENERATION_BYTES_MAX = 8_192


def read_machine(paths: tuple[Path, ...] = GENERATION_PATHS) -> Machine:
    return Machine(boot_id(), read_generation(paths))


def read_generation(paths: tuple[Path, ...] = GENERATION_PATHS) -> str:
    """A digest of what is shown; '' where nothing is."""
    for path in paths:
        try:
            with path.open("rb") as file:
                data = file.read(GENERATION_BYTES_MAX)
        except OSError:
            continue
        if data.strip(b"\0"):
            return hashlib.sha256(data).hexdigest()
    return ""
