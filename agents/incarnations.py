"""Which incarnations began on this state directory: a small file, the newest last.

Rule: an incarnation is in it, on disk, before it speaks, so that those that follow can name it (agents/core/ended.py,
docs/adr/0025); and a process goes on only as the newest of them. A damaged one counts as empty, and one that cannot be
written is told and keeps no agent from its work.
"""

from __future__ import annotations

import threading
from pathlib import Path

from agents.core.ended import BEGUN_KEPT_MAX
from proto.edge.atomic_file import read_capped, write_atomic
from proto.edge.logs import get_logger
from proto.errors import BadValue, DurabilityLost
from proto.units import TOKEN_BYTES, Incarnation

NAME = "incarnations"
FILE_BYTES_MAX = 4_096

log = get_logger("agents.store")


class Incarnations:
    """Blocking and synced; owned by the agent process that holds the state directory's lock."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / NAME
        self.begun = self._load()
        self._lock = threading.Lock()

    def begin(self, incarnation: Incarnation) -> None:
        """Returns when it is on disk, or told that it is not; then the next call tries again. From any thread."""
        with self._lock:
            self._begin(incarnation)

    def _begin(self, incarnation: Incarnation) -> None:
        if incarnation in self.begun:
            return
        begun = (*self.begun, incarnation)[-BEGUN_KEPT_MAX:]
        try:
            write_atomic(self.path, "".join(f"{one.hex()}\n" for one in begun).encode())
        except DurabilityLost as error:
            consequence = "if it ends now, a late word of it may pass for another agent of this site"
            log.warning("incarnation_not_noted", why=str(error), consequence=consequence)
            return
        self.begun = begun

    def _load(self) -> tuple[Incarnation, ...]:
        try:
            lines = read_capped(self.path, FILE_BYTES_MAX).decode("ascii").splitlines()
            found = tuple(Incarnation(bytes.fromhex(line)) for line in lines)
        except FileNotFoundError:
            return ()
        except (OSError, BadValue, ValueError) as error:
            self._unusable(str(error))
            return ()
        if any(len(one) != TOKEN_BYTES for one in found):
            self._unusable(f"its lines must have {2 * TOKEN_BYTES} hex digits")
            return ()
        return found[-BEGUN_KEPT_MAX:]

    def _unusable(self, why: str) -> None:
        log.warning("file_unusable", path=str(self.path), why=why, consequence="as if it was missing")
