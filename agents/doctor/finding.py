"""What a check may say: one finding, with what it means for the promise and what to do about it.

Rule: three severities, which are also the exit codes. `broken`: as this host is, the promise does not hold, or the
service would not come back. `warning`: it holds, but weaker, or only as long as nothing else happens. `note`: to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    NOTE = "note"
    WARNING = "warning"
    BROKEN = "broken"


EXIT_CODE = {Severity.NOTE: 0, Severity.WARNING: 1, Severity.BROKEN: 2}


class Promise(Enum):
    """The value is what a reader sees."""

    NO_SPLIT_BRAIN = "no split-brain"
    ONE_LICENSE = "one license activation"
    COMES_BACK = "the service comes back"
    EXPLAINED = "every decision can be explained"


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    subject: str
    """What it is about: a unit, a path, a witness."""
    what: str
    promise: Promise
    why: str
    remedy: str
    group: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "severity": self.severity.value,
            "group": self.group,
            "subject": self.subject,
            "what": self.what,
            "promise": self.promise.value,
            "why": self.why,
            "remedy": self.remedy,
        }


def worst(findings: list[Finding]) -> int:
    """The exit code."""
    return max((EXIT_CODE[one.severity] for one in findings), default=0)
