"""A receiver in memory: for tests, and for whoever wants to see what would be told."""

from __future__ import annotations

from typing import Any

from witness.core.notify.settings import Way
from witness.notify.port import TOLD, Report


class MemoryDelivery:
    def __init__(self) -> None:
        self.letters: list[dict[str, Any]] = []
        self.answer: Report = TOLD

    async def deliver(self, _way: Way, letter: dict[str, Any]) -> Report:
        if self.answer.ok:
            self.letters.append(letter)
        return self.answer
