"""An upgrade while the site is active (SIGUSR2): the process becomes the new program, its guards go on meanwhile.

Rule: the new program's configuration is read and checked by a process of the new program first, while this one still
renews; whatever it refuses changes nothing here. Only then does this process let go of its guards without a word,
close what it listens on, and exec: same process id, so a supervisor sees one service that never ended. The new image
finds the guards as it would after a crash (agents/runtime/take_over.py), just sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from proto.errors import LocalFault

PREPARE_S = 60.0
WORDS_BYTES_MAX = 2_000
MODULE = "agents.runtime"
MEMBER = "member"
MEMBER_MODULE = "agents.member"
PREPARE_MODULE = "agents.runtime.prepare"


async def prepare(config: Path, *kind: str) -> int:
    """The settings as the new program reads them, in a memory file. Raises LocalFault with its words.

    `kind`: nothing for an agent, "member" for a member.
    """
    fd = os.memfd_create("thirdsite-settings", 0)
    command = (sys.executable, "-P", "-m", PREPARE_MODULE, str(config), str(fd), *kind)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(fd,),
        )
        try:
            _, said = await asyncio.wait_for(process.communicate(), PREPARE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise LocalFault(f"{PREPARE_MODULE} did not end within {PREPARE_S:g} s") from None
        if process.returncode != 0:
            words = said[-WORDS_BYTES_MAX:].decode("utf-8", "replace").strip()
            raise LocalFault(words or f"{PREPARE_MODULE} ended with {process.returncode}")
    except OSError as error:
        os.close(fd)
        raise LocalFault(f"{sys.executable} cannot be started: {error.strerror}") from error
    except LocalFault:
        os.close(fd)
        raise
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def become_successor(config: Path, settings_fd: int, module: str = MODULE) -> NoReturn:
    """After everything is closed that the new image opens again."""
    command = [sys.executable, "-P", "-m", module, "--settings-fd", str(settings_fd), str(config)]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
