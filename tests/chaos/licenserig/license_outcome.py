"""What became of one round, and what is wrong with it. Pure; the run fills it in as it goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from licenserig.license_plan import Round
from licenserig.license_record import MS, Record


@dataclass(slots=True)
class Outcome:
    round: Round
    load: float = 0.0
    site: str = ""
    """Who was active."""
    epoch: int = 0
    epoch_after: int = 0
    keys_before: int = 0
    """How often the key had changed before the round."""
    struck_ns: int = 0
    taken_ns: int | None = None
    """The vendor let the other site's platform in."""
    answered_ns: int | None = None
    """All of its services take connections."""
    seeded: bool = False
    """The former site's database had parted and was seeded anew."""
    double_ms: float = 0.0
    violations: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def takeover_ms(self) -> float | None:
        return None if self.taken_ns is None else (self.taken_ns - self.struck_ns) / MS

    @property
    def answer_ms(self) -> float | None:
        return None if self.answered_ns is None else (self.answered_ns - self.struck_ns) / MS

    @property
    def keys_lost(self) -> int:
        """The vendor was shown a key that is not the newest: the license is dead."""
        return sum("key from" in words for words in self.violations)

    @property
    def bad(self) -> bool:
        return bool(self.wrong())

    def wrong(self) -> list[str]:
        said = [*self.broken]
        if self.double_ms > 0:
            said.append(f"two sites had the license active at once for {self.double_ms:.1f} ms")
        said += [f"the vendor refused: {words}" for words in self.violations]
        if self.taken_ns is None and not said:
            said.append("no takeover")
        if self.taken_ns is not None and self.epoch_after <= self.epoch and not self.broken:
            said.append(f"epoch {self.epoch_after} is not above {self.epoch}")
        return said

    def see(self, record: Record, now_ns: int, since_ns: int, violations_before: int) -> None:
        self.double_ms = record.double_ms(now_ns, since_ns)
        self.violations = record.violations[violations_before:]

    def told(self) -> dict[str, Any]:
        return {
            **asdict(self.round),
            "site": self.site,
            "epoch": self.epoch,
            "takeover_ms": None if self.takeover_ms is None else round(self.takeover_ms, 1),
            "answer_ms": None if self.answer_ms is None else round(self.answer_ms, 1),
            "double_ms": round(self.double_ms, 3),
            "keys_lost": self.keys_lost,
            "seeded": self.seeded,
            "load": round(self.load, 1),
            "wrong": self.wrong(),
        }
