"""Which incarnations of this agent ended before the present one began, and which heartbeats name them.

Rule: an incarnation is on disk before it speaks, so that the next one can name it. A last word of an ended incarnation
may lie behind a slow disk of a witness until long after the next one was heard; unnamed it would pass for a newer one,
and the living agent would be told that another one speaks for its site (docs/adr/0025).
The names are said until so many heartbeats were answered: none that lay so long is kept by anybody. Where the disk
hangs, the agent speaks all the same after a while, and says so: silence would cost more than the name is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

from proto.features import since
from proto.limits import ENDED_NAMED_MAX
from proto.units import NS_PER_S, Incarnation, InstantNs

NAMED_LEVEL = since("Heartbeat.ended")
NAMED_HEARTBEATS = 256
"""Answered ones: a minute and more, unless they are urgent."""
BEGUN_KEPT_MAX = ENDED_NAMED_MAX + 1
"""On disk: with the present one."""
NOTE_WAIT_NS = 5 * NS_PER_S


def ended_before(present: Incarnation, begun: Sequence[Incarnation]) -> tuple[Incarnation, ...]:
    """Of those that are on disk, the newest last: what began later has not ended before it, whoever goes on as what."""
    return tuple(begun[: begun.index(present)] if present in begun else begun)


class EndedIncarnations:
    def __init__(self, present: Incarnation, begun: Sequence[Incarnation], *, spoke: bool) -> None:
        """`begun`: as they are on disk, the newest last. `spoke`: a former process of the present one did."""
        self._ended = ended_before(present, begun)[-ENDED_NAMED_MAX:]
        self._counted = 0
        self._asked: InstantNs | None = None
        self._noted = present in begun
        self._may_speak = spoke or self._noted

    def begun_anew(self, former: Incarnation) -> None:
        """Another incarnation began in this process; it is not on disk yet."""
        self._ended = (*self._ended, former)[-ENDED_NAMED_MAX:]
        self._counted = 0
        self._asked = None
        self._noted = self._may_speak = False

    def to_note(self, now: InstantNs) -> bool:
        """There is somebody to speak to: whether it is time to make the present one durable."""
        if self._noted or self._asked is not None:
            return False
        self._asked = now
        return True

    def noted(self) -> None:
        """The present one is on disk, or cannot be: it may speak."""
        self._noted = self._may_speak = True

    def hangs(self, now: InstantNs) -> bool:
        """True once, when it has waited for its disk long enough: it speaks from now on."""
        if self._may_speak or self._asked is None or now < self._asked + NOTE_WAIT_NS:
            return False
        self._may_speak = True
        return True

    @property
    def may_speak(self) -> bool:
        return self._may_speak

    def counted(self) -> None:
        """A heartbeat was answered, and counted."""
        self._counted += 1

    def named(self, features: int) -> tuple[Incarnation, ...]:
        """By the next heartbeat to a witness whose cluster works at feature level `features`."""
        return self._ended if features >= NAMED_LEVEL and self._counted < NAMED_HEARTBEATS else ()
