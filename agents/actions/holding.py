"""How a group's processes are held, in the words that reports and the status carry.

The strongest way needs no explanation, so it is one word; whatever is weaker, or is missing something, says what.
"""

from __future__ import annotations

from agents.fencing.base import Containment, GuardStatus
from agents.fencing.containment import NOTES

WORDS_CHARS_MAX = 300


def containment_words(status: GuardStatus) -> str:
    kind = status.containment
    note = status.note
    if kind is Containment.PID_NAMESPACE:
        note = note.removeprefix(NOTES[kind.value]).strip(" ;")
    return (f"{kind.value} ({note})" if note else kind.value)[:WORDS_CHARS_MAX]
