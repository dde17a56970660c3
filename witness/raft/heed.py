"""A witness that is told that its disk forgot something heeds it: at once, durably, until it is readmitted (O5).

Rule: a peer that refuses our introduction because it saw our disk further than it is, under another process, knows what
this disk no longer does (witness.raft.admission, *forgot*). From that instant this process neither votes, acknowledges
nor leads: the words go into the store, synced, and the process ends. A later start on that disk is refused by them,
`witness readmit` puts it aside like any other that must not vote, and a learner on such a disk is no exception.

Why. Each member refuses by what it has seen itself. One that saw less lets the old disk in while it reaches nobody who
saw more; with that one vote it could win an election without what was acknowledged meanwhile (simulation, seed 161409).
Of the three only the witness itself reaches both sides, so what it hears from one must end what it does with the other.
It is told by a code and not by the words (witness.raft.introduction), by a peer whose certificate and introduction were
right. Not heeded: the same process (its connections may have crossed), what a vouch leaves open, two copies that ran
one after the other; each may be refused today and right tomorrow.
The store stays readable for `witness backup`: it may be the best that is left.
Rejected: to go on as a learner on that disk: a readmission rests on a new disk that the others record. In memory
alone: a supervisor starts the process again, and the one who knows may be out of reach by then.
"""

from __future__ import annotations

from typing import Final, Protocol

from proto.units import WitnessId
from witness.raft.store_rows import StoreRefused

HEED_MARK: Final = "forgot"
"""The store's mark: who said so, and its words."""


class Marks(Protocol):
    """What is needed of the store."""

    def get_meta(self, name: str) -> bytes | None: ...
    def put_meta(self, name: str, value: bytes) -> None: ...
    def commit(self) -> bool: ...


class Read(Protocol):
    def get_meta(self, name: str) -> bytes | None: ...


def heed(store: Marks, peer: WitnessId, words: str) -> StoreRefused:
    """What the process ends with; durable when this returns. Raises DurabilityLost, which ends it too."""
    said = f"{peer} says: {words}"
    store.put_meta(HEED_MARK, said.encode(errors="replace"))
    store.commit()
    return _refused(said)


def require_nothing_heeded(store: Read) -> None:
    """Raises StoreRefused on a disk whose witness was told before."""
    said = store.get_meta(HEED_MARK)
    if said is not None:
        raise _refused(said.decode(errors="replace"))


def _refused(said: str) -> StoreRefused:
    return StoreRefused(
        f"this witness's disk forgot something that another one has seen of it ({said}): it must not vote on as if "
        "nothing had been lost; run `witness readmit -c FILE` and start it again. If two witnesses say so, readmit "
        "neither: back up the one that still starts, and restore all"
    )
