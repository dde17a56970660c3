"""The `log` part of every configuration file."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from proto.edge.config_file import ConfigModel
from proto.edge.log_settings import LogSettings


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    JSON = "json"
    TEXT = "text"


class LogConfig(ConfigModel):
    level: LogLevel = LogLevel.INFO
    format: LogFormat | None = Field(default=None, description="without it: text on a terminal, else JSON")

    def settings(self) -> LogSettings:
        return LogSettings(self.level.value, None if self.format is None else self.format is LogFormat.JSON)
