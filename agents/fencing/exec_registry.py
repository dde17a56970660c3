"""The agent's end of its local socket: every exec guard of this host, its deadlines, and the proof of its end.

Rule: an exec guard is known by the kernel's word (SO_PEERCRED) and watched by pidfds of its own process and of its
namespace's init. It stays on the list, connected or not, until its namespace is proven down or the last deadline
that was ever sent to it has passed; only then does `stop_all` let the agent say "down". A group that is being
stopped has no current deadline, so that a guard that comes late waits instead of starting.
Bounded: CONNECTIONS_MAX at once, lines by line_codec, and no answer of a guard is ever waited for without an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agents.fencing import line_codec, local_protocol, message_fields
from agents.fencing.authority import Refused, Rungs
from agents.fencing.exec_member import ExecDown, ExecMember
from agents.fencing.guard_clock import boottime_ns
from agents.fencing.line_codec import Message
from proto.errors import LocalFault
from proto.units import NS_PER_MS, NS_PER_S

CONNECTIONS_MAX = 256
REGISTER_S = 5.0
SOCKET_MODE = 0o600
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class ExecStatus:
    pid: int
    group: str
    connected: bool
    running: bool
    containment: str
    epoch_armed: int | None


class ExecRegistry:
    """Owned by the agent's loop."""

    def __init__(self, socket_path: Path, groups: Iterable[str], *, mode: int = SOCKET_MODE) -> None:
        self.socket_path = socket_path
        self._groups = frozenset(groups)
        self._mode = mode
        self._current: dict[str, Rungs] = {}
        self._members: dict[tuple[int, int], ExecMember] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises LocalFault when another agent listens there."""
        await asyncio.to_thread(_clear_stale, self.socket_path)
        sock = _bind(self.socket_path, self._mode)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=line_codec.LINE_BYTES_MAX)

    async def close(self) -> None:
        """Stops listening. What runs goes on until its deadline."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for member in self._members.values():
            member.close()
        self._members.clear()
        self.socket_path.unlink(missing_ok=True)

    # -- what the agent asks ------------------------------------------------------------------------------

    def set_deadline(self, group: str, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        """To every exec guard of the group, now and when it registers, until `stop_all`."""
        rungs = Rungs(epoch, term_at_ns, kill_at_ns, deadline_ns)
        self._current[group] = rungs
        for member in self._of(group):
            member.send_deadline(rungs)

    async def stop_all(self, group: str, grace_ns: int) -> tuple[ExecDown, ...]:
        """Returns when each of them is proven down, or its last deadline has passed."""
        self._current.pop(group, None)
        held = [member for member in self._of(group) if member.holds]
        for member in held:
            member.send({"type": "stop", "grace_ms": min(grace_ns // NS_PER_MS, message_fields.GRACE_MS_MAX)})
        return tuple(await asyncio.gather(*(self._await_end(member) for member in held)))

    def fence(self, group: str) -> None:
        """KILL, now: exec guard and init. The proof is `stop_all`'s."""
        self._current.pop(group, None)
        for member in self._of(group):
            if member.holds:
                member.kill()

    def status(self) -> tuple[ExecStatus, ...]:
        return tuple(
            ExecStatus(
                member.pid,
                member.group,
                member.writer is not None,
                member.running,
                member.containment,
                member.epoch_armed,
            )
            for member in self._members.values()
        )

    def _of(self, group: str) -> list[ExecMember]:
        return [member for member in self._members.values() if member.group == group]

    async def _await_end(self, member: ExecMember) -> ExecDown:
        left_ns = max(0, member.last_deadline_ns - boottime_ns())
        try:
            await asyncio.wait_for(member.ended.wait(), left_ns / NS_PER_S)
        except TimeoutError:
            return ExecDown(member.pid, verified=False, cause="its last deadline has passed")
        finally:
            self._forget_if_over(member)
        return ExecDown(member.pid, verified=True, cause=member.cause)

    # -- connections --------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
        member: ExecMember | None = None
        try:
            if len(self._connections) > CONNECTIONS_MAX:
                raise Refused("too-many", f"{CONNECTIONS_MAX} exec guards are connected")
            member = await self._register(reader, writer)
            while line := await _read_line(reader):
                member.on_message(local_protocol.from_exec(line))
        except Refused as refused:
            _send(writer, local_protocol.error(refused.code, refused.text))
        except (OSError, TimeoutError):
            pass  # the connection is gone; the pidfds say the rest
        except asyncio.CancelledError:
            pass  # close() ends us; asyncio would report the cancellation of a server's task as an error
        finally:
            if task is not None:
                self._connections.discard(task)
            if member is not None and member.writer is writer:
                member.writer = None
                self._forget_if_over(member)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _register(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> ExecMember:
        line = await asyncio.wait_for(_read_line(reader), REGISTER_S)
        message = local_protocol.from_exec(line)
        if message["type"] != "register":
            raise Refused("not-registered", "the first message must be 'register'")
        group = str(message["group"])
        if group not in self._groups:
            raise Refused("unknown-group", f"this agent does not serve a group {group!r}")
        member = self._known_or_new(group, _peer_pid(writer), message)
        member.writer = writer
        # It may run under a deadline that a former agent sent: that one is held as if it were ours.
        member.last_deadline_ns = max(member.last_deadline_ns, int(str(message["deadline_ns"])))
        member.send({"type": "registered"})
        rungs = self._current.get(group)
        if rungs is not None:
            member.send_deadline(rungs)
        return member

    def _known_or_new(self, group: str, pid: int, message: Message) -> ExecMember:
        same = pid == int(str(message["pid"]))
        member = ExecMember(group, pid, same_pid_namespace=same, instance=int(str(message["instance"])))
        known = self._members.get(member.key)
        if known is not None and known.group == group:
            member.close()
            return known
        self._members[member.key] = member
        return member

    def _forget_if_over(self, member: ExecMember) -> None:
        """Ended, or never given a deadline that still counts, and nobody at the other end."""
        over = member.ended.is_set() or member.last_deadline_ns <= boottime_ns()
        if over and member.writer is None and self._members.get(member.key) is member:
            del self._members[member.key]
            member.close()


def _send(writer: asyncio.StreamWriter, message: Message) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.write(line_codec.encode(message))


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """B'' at the end of the connection; a line above the limit is refused."""
    try:
        return await reader.readline()
    except ValueError:
        raise Refused("too-long", f"a line exceeds {line_codec.LINE_BYTES_MAX} bytes") from None


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _uid, _gid = _CREDENTIALS.unpack(data)
    return int(pid)


def _bind(path: Path, mode: int) -> socket.socket:
    """In one go, so that the narrow umask touches nobody else: never open to others, not even before the chmod."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise LocalFault(f"{path}: cannot listen: {error.strerror}") from error
    finally:
        os.umask(before)
    path.chmod(mode)
    return sock


def _clear_stale(path: Path) -> None:
    """Removes the socket of an agent that is gone; refuses to take one from an agent that listens."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise LocalFault(f"{path}: {error.strerror}: cannot tell whether another agent listens") from error
    raise LocalFault(f"{path}: another agent listens there; end it first")
