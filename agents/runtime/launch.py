"""`site-agent run` and `site-agent member`: check the configuration, then become the process that stays.

The checker's libraries (YAML, pydantic, typer) take some 15 MB that an agent would carry for months. The settings
go over in a memory file; the process id stays, so a supervisor sees one process.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from agents.config import load_agent_config
from agents.config_member import load_member_config
from agents.settings import MemberProcessSettings, SiteSettings, to_json

SMALL_HEAP = {"MALLOC_ARENA_MAX": "2"}
"""The few threads (name look-ups, syncs) need no heap each."""


def distribution_version() -> str:
    try:
        return version("thirdsite")
    except PackageNotFoundError:
        return "0"


def checked_settings(config: Path) -> SiteSettings:
    """Raises ConfigRefused."""
    return dataclasses.replace(load_agent_config(config), version=distribution_version())


def checked_member_settings(config: Path) -> MemberProcessSettings:
    """Raises ConfigRefused."""
    return dataclasses.replace(load_member_config(config), version=distribution_version())


def launch(config: Path) -> NoReturn:
    """Raises ConfigRefused; otherwise it does not return."""
    _become("agents.runtime", to_json(checked_settings(config)), config)


def launch_member(config: Path) -> NoReturn:
    """Raises ConfigRefused; otherwise it does not return."""
    _become("agents.member", to_json(checked_member_settings(config)), config)


def _become(module: str, settings: str, config: Path) -> NoReturn:
    fd = os.memfd_create("thirdsite-settings", 0)
    with os.fdopen(os.dup(fd), "w", encoding="utf-8") as stream:
        stream.write(settings)
    os.lseek(fd, 0, os.SEEK_SET)
    command = [sys.executable, "-P", "-m", module, "--settings-fd", str(fd), str(config)]
    os.execve(sys.executable, command, {**SMALL_HEAP, **os.environ})  # noqa: S606 - no shell is wanted
