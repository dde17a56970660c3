"""Which incarnations of this agent ended before the present one began, and which heartbeats name them.

Rule: an incarnation is on disk before it speaks, so that the next one can name it. A last word of an ended incarnation
may lie behind a slow disk of a witness until long after the next one was heard; unnamed it would pass for a newer one,
and the living agent would be told that another one speaks for its site (docs/adr/0025).
The names are said in the first heartbeats only, and whenever that was told all the same: they are superseded for good
once a heartbeat that names them is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from proto.features import since
from proto.limits import ENDED_NAMED_MAX
from proto.units import Incarnation

NAMED_LEVEL = since("Heartbeat.ended")
NAMED_HEARTBEATS = 256
"""Some minutes: a word that comes later than that lay longer than any witness would have kept its own."""


def ended_before(present: Incarnation, begun: Sequence[Incarnation]) -> tuple[Incarnation, ...]:
    """Of those that are on disk, the newest last. Not those after it: a process may go on as an earlier incarnation
    (agents/core/takeover.py), and names must not go round.
    """
    return tuple(begun[: begun.index(present)] if present in begun else begun)


class EndedIncarnations:
    def __init__(self, ended: Iterable[Incarnation]) -> None:
        """`ended`: the newest last, as they are on disk; the present incarnation is on disk as well."""
        self._ended = tuple(ended)[-ENDED_NAMED_MAX:]
        self._said = 0
        self.noted = True
        """The present incarnation is on disk: it may speak."""

    def begun_anew(self, former: Incarnation) -> None:
        """Another incarnation began in this process; it is not on disk yet."""
        self._ended = (*self._ended, former)[-ENDED_NAMED_MAX:]
        self._said = 0
        self.noted = False

    def named(self, features: int, *, superseded: bool) -> tuple[Incarnation, ...]:
        """By the next heartbeat to a witness whose cluster works at feature level `features`."""
        if features < NAMED_LEVEL or (self._said >= NAMED_HEARTBEATS and not superseded):
            return ()
        self._said += 1
        return self._ended
