"""How a process writes its log, as plain values: settings are read where pydantic is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str = "info"
    json: bool | None = None
    """None: text on a terminal, else JSON."""
