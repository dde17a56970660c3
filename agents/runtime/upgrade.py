"""An upgrade while the site is active (SIGUSR2): the process becomes the new program, its guards go on meanwhile.

Rule: the new program's configuration is read and checked by a process of the new program first, and another one stands
by with everything imported (agents/runtime/turn.py), while this one still renews; whatever they refuse changes nothing
here. Only then does this process let go of its guards without a word and close what it listens on, for its stand-in,
and exec: same process id, so a supervisor sees one service that never ended. Each finds the guards as it would after a
crash (agents/runtime/take_over.py), just sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from agents.runtime.turn import READY, Successor, Turn, start_stand_in
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


async def stand_by(config: Path, settings_fd: int, *kind: str) -> Successor:
    """A stand-in that has everything but its turn. Raises LocalFault with why it did not come up."""
    module = MEMBER_MODULE if MEMBER in kind else MODULE
    try:
        process, ours = start_stand_in(module, config, settings_fd)
    except OSError as error:
        os.close(settings_fd)
        raise LocalFault(f"{sys.executable} cannot be started: {error.strerror}") from error
    said = None
    try:
        async with asyncio.timeout(PREPARE_S):
            said = await asyncio.get_running_loop().sock_recv(ours, 1)
    except TimeoutError:
        why = f"it was not ready within {PREPARE_S:g} s"
    else:
        why = "it ended; its last words are in the log"
    finally:
        if said != READY:
            process.kill()
            os.close(settings_fd)
            ours.close()
    if said != READY:
        code = await asyncio.to_thread(process.wait)
        raise LocalFault(f"the new program did not come up: {why} (exit code {code})")
    process.returncode = 0  # from now on it is reaped through its turn, also by the image that this process becomes
    return Successor(settings_fd, Turn(ours.detach(), process.pid))


def become(module: str, config: Path, successor: Successor) -> NoReturn:
    """After everything is closed that the new image opens again."""
    words = ("--settings-fd", str(successor.settings_fd), "--after", successor.turn.words(), str(config))
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])  # noqa: S606 - no shell is wanted
