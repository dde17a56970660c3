"""A second, untouched copy of the released library, beside the one that our adapter changes.

Rule: witness.raft.engine_adapter replaces names in the module `pysyncobj.syncobj` for good. What is compared with it
must not see that, nor be seen by it. So the package is imported once more under the same names, its modules are kept
here, and `sys.modules` is put back: two copies, no shared globals. Clock and random source of this copy are lent by
whoever drives it (`Ambient`), since the library reads them from module globals (D-29).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import sys
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

PACKAGE = "pysyncobj"
SLOW = 100
CLOCK_STEP_S = 7e-6
"""The clock goes on by this with every reading: the library waits for it in a loop (D-12)."""


def _import_again() -> dict[str, ModuleType]:
    before = {name: sys.modules.pop(name) for name in _ours()}
    try:
        for part in ("syncobj", "journal", "serializer", "transport", "node", "config", "batteries", "tcp_connection"):
            importlib.import_module(f"{PACKAGE}.{part}")
        return {name: sys.modules[name] for name in _ours()}
    finally:
        for name in _ours():
            del sys.modules[name]
        sys.modules.update(before)


def _ours() -> list[str]:
    return [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]


class PlainClock:
    """One machine's clock. It stands between two turns, and goes on a little with every reading (D-12)."""

    def __init__(self, step_s: float = CLOCK_STEP_S, patience: int | None = None) -> None:
        """`patience`: after so many readings in one turn each takes SLOW times as long, so that a storm ends soon."""
        self.now_s = 0.0
        self.step_s = step_s
        self._patience = patience
        self._readings = 0

    def show(self, now_s: float) -> None:
        """A turn begins: it is this late, or later already by the readings of the last turn."""
        self.now_s = max(self.now_s, now_s)
        self._readings = 0

    def read(self) -> float:
        self._readings += 1
        slow = self._patience is not None and self._readings > self._patience
        self.now_s += self.step_s * SLOW if slow else self.step_s
        return self.now_s


class Ambient:
    """What the library takes for its modules: the clock and the random source of the node whose turn it is."""

    def __init__(self) -> None:
        self.clock = PlainClock()
        self.rng: Any = random

    def read(self) -> float:
        return self.clock.read()

    def random(self) -> float:
        return self.rng.random()


_modules = _import_again()
syncobj: Any = _modules[f"{PACKAGE}.syncobj"]
journal: Any = _modules[f"{PACKAGE}.journal"]
serializer: Any = _modules[f"{PACKAGE}.serializer"]
transport: Any = _modules[f"{PACKAGE}.transport"]
node: Any = _modules[f"{PACKAGE}.node"]
config: Any = _modules[f"{PACKAGE}.config"]
batteries: Any = _modules[f"{PACKAGE}.batteries"]
version: str = _modules[f"{PACKAGE}.version"].VERSION
SUCCESS: int = config.FAIL_REASON.SUCCESS

ambient = Ambient()
syncobj.monotonicTime = ambient.read
syncobj.random = ambient
for _name in ("syncobj", "serializer"):
    # A logger of its own: the adapter silences the one that both copies would share.
    _modules[f"{PACKAGE}.{_name}"].logger = logging.getLogger(f"plain.{_name}")
    _modules[f"{PACKAGE}.{_name}"].logger.addHandler(logging.NullHandler())
    _modules[f"{PACKAGE}.{_name}"].logger.propagate = False


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """Within, this copy is the one that an import finds, as the pickling of its own classes needs it."""
    before = {name: sys.modules.pop(name) for name in _ours()}
    sys.modules.update(_modules)
    try:
        yield
    finally:
        for name in _ours():
            del sys.modules[name]
        sys.modules.update(before)


class Peer(node.Node):
    """A node by its name. Dumps hold nodes, so that their class must be found again by its own name."""


class SteadyPeer(Peer):
    """Hashes alike in every process, so that a seed replays (D-29)."""

    def __hash__(self) -> int:
        return zlib.crc32(str(self.id).encode())
