"""Which operation of a simulated disk fails, and how: what is armed, and how often each fault really struck.

Rule: every operation that a real disk could refuse passes `Faults.gate` once, under a kind and a name, for example
`sync:witness.db-wal`. A fault counts in `hits` when it strikes, never when it is armed, so that a campaign can show
that its faults were not decoration.
"""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KINDS: Final = ("read", "write", "sync", "resize", "create", "rename", "delete", "names")
"""Of operations: `names` is the sync of the directory, `resize` cuts or stretches a file."""

WRITING: Final = frozenset(KINDS) - {"read"}


class CrashPoint(BaseException):
    """The simulated power failed: drop all that used the disk and open it again. No `except Exception` sees it."""


@dataclass(slots=True)
class Failure:
    """EIO for the operations that fit, after `skip` of them, `times` times."""

    kind: str
    name: str | None
    skip: int
    times: int


class Faults:
    """Belongs to one SimDisk; what is armed stays armed over restarts until it struck or `calm` is called."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.hits: Counter[str] = Counter()
        self.armed = False
        """Whether anything is: an operation of a healthy disk asks for no more than this."""
        self.capacity: int | None = None
        self.read_only = False
        self.spend: Callable[[str, str], None] | None = None
        self._crash_in: int | None = None
        self._crash_at: tuple[str, int] | None = None
        self._failures: list[Failure] = []

    # -- arming ----------------------------------------------------------------------------------------------

    def crash_in(self, operations: int) -> None:
        """CrashPoint at the N-th operation from now on (1 is the next one): before it, or after it took effect."""
        self._crash_in, self.armed = operations, True

    def crash_at(self, operation: str, passing: int = 0) -> None:
        """CrashPoint at an operation by kind and name, for example `sync:witness.db-wal`, after `passing` of them."""
        self._crash_at, self.armed = (operation, passing), True

    def fail(self, kind: str, *, name: str | None = None, skip: int = 0, times: int = 1) -> None:
        """EIO. A failed sync drops what it should have written, as Linux does, and the next one succeeds (D3)."""
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
        self._failures.append(Failure(kind, name, skip, times))
        self.armed = True

    def limit(self, capacity: int | None) -> None:
        """ENOSPC when the files would grow beyond so many bytes in all; None for no limit."""
        self.capacity = capacity
        self.armed = True

    def freeze(self, read_only: bool = True) -> None:
        """EROFS for all that writes, as after a remount (D10)."""
        self.read_only = read_only
        self.armed = True

    def slow(self, spend: Callable[[str, str], None] | None) -> None:
        """`spend(kind, name)` is called before every operation: the owner lets its simulated time pass (D9)."""
        self.spend = spend
        self.armed = True

    def calm(self) -> None:
        """The disk is healthy from now on; what was lost stays lost."""
        self._crash_in = self._crash_at = self.capacity = self.spend = None
        self.read_only = self.armed = False
        self._failures.clear()

    # -- striking --------------------------------------------------------------------------------------------

    def gate(self, kind: str, name: str) -> bool:
        """Raises OSError, or returns True when the power fails now."""
        if self.spend is not None:
            self.hits["slow operation"] += 1
            self.spend(kind, name)
        if self.read_only and kind in WRITING:
            self.hits["read-only"] += 1
            raise _error(errno.EROFS, name)
        for failure in self._failures:
            if failure.kind == kind and failure.name in {None, name} and self._strikes(failure):
                self.hits[f"{kind} error"] += 1
                raise _error(errno.EIO, name)
        return self._crashes(f"{kind}:{name}")

    def no_space(self, name: str) -> OSError:
        self.hits["no space"] += 1
        return _error(errno.ENOSPC, name)

    def _strikes(self, failure: Failure) -> bool:
        if failure.skip > 0:
            failure.skip -= 1
            return False
        failure.times -= 1
        if failure.times <= 0:
            self._failures.remove(failure)
        return True

    def _crashes(self, operation: str) -> bool:
        if self._crash_in is not None:
            self._crash_in -= 1
            if self._crash_in <= 0:
                self._crash_in = None
                self.hits["crash point"] += 1
                return True
        if self._crash_at is not None and self._crash_at[0] == operation:
            passing = self._crash_at[1] - 1
            self._crash_at = (operation, passing) if passing >= 0 else None
            if passing < 0:
                self.hits["crash point"] += 1
                return True
        return False


def _error(code: int, name: str) -> OSError:
    return OSError(code, os.strerror(code), name)
