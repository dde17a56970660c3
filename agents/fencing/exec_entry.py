"""How the command line of the agent becomes an exec guard: by replacing this process with a small one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


def exec_guard_argv(arguments: Sequence[str]) -> list[str]:
    """`arguments` are what follows `site-agent exec`, the `--` included."""
    entry = Path(__file__).with_name("guard_main.py")
    return [sys.executable, "-I", "-S", str(entry), "exec", *arguments]


def become_exec_guard(arguments: Sequence[str]) -> NoReturn:
    """Never returns. The process id stays, so that a supervisor keeps its hold of it."""
    argv = exec_guard_argv(arguments)
    os.execv(argv[0], argv)  # noqa: S606 - our own interpreter and file
