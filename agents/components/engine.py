"""What a container engine says about one container, and how the container is killed; Docker's API on its socket.

Rule: an engine that does not answer proves nothing: its containers may live on without it. A paused container is up.
A kill is sent through the engine, which then does not restart the container, and beside it to the container's first
process, when the kernel confirms that this process belongs to it: an engine that hangs must not keep it alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

ANSWER_BYTES_MAX = 4 * 1024 * 1024


class EngineSilent(Exception):
    """No usable answer, in words."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    identity: str
    up: bool
    status: str
    pid: int
    command: tuple[str, ...]


async def look(socket: Path, name: str, timeout_ms: int) -> ContainerState | None:
    """None: there is no such container. Raises EngineSilent."""
    status, body = await _ask(socket, "GET", f"/containers/{quote(name, safe='')}/json", timeout_ms)
    if status == 404:
        return None
    try:
        state = body["State"]
        up = any(bool(state.get(word)) for word in ("Running", "Paused", "Restarting"))
        command = (str(body.get("Path", "")), *map(str, body.get("Args") or ()))
        return ContainerState(str(body["Id"]), up, str(state.get("Status", "?")), int(state.get("Pid", 0)), command)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineSilent(f"{socket}: the engine's answer (status {status}) cannot be read: {error!r}") from error


async def kill(socket: Path, name: str, timeout_ms: int) -> None:
    """Raises EngineSilent. A container that is down already is no error."""
    await _ask(socket, "POST", f"/containers/{quote(name, safe='')}/kill?signal=KILL", timeout_ms)


def kill_first_process(state: ContainerState, proc: Path = Path("/proc")) -> bool:
    """SIGKILL to the container's first process; False when it is not provably that (seen from another namespace)."""
    if state.pid <= 1 or not state.identity:
        return False
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(state.pid, 0)
        try:
            if state.identity in (proc / str(state.pid) / "cgroup").read_text(encoding="ascii"):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                return True
        finally:
            os.close(pidfd)
    return False


async def _ask(socket: Path, method: str, path: str, timeout_ms: int) -> tuple[int, Any]:
    timeout = aiohttp.ClientTimeout(total=timeout_ms / 1_000)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session,
            session.request(method, f"http://engine{path}") as answer,
        ):
            body = bytearray()
            async for chunk in answer.content.iter_chunked(65_536):
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise EngineSilent(f"{socket}: the engine's answer exceeds {ANSWER_BYTES_MAX} bytes")
            if answer.status >= 500:
                raise EngineSilent(f"{socket}: the engine answers with status {answer.status}")
            return answer.status, json.loads(body) if body else None
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or "no answer in time"
        raise EngineSilent(f"{socket}: the engine does not answer: {why}") from error
