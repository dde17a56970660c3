"""Where the next agent process finds its guard: a private socket beside the record, with room for one controller.

Rule: mode 0600 in a directory of the agent, and the kernel's word (SO_PEERCRED) that the caller is the guard's own
user or root. While a controller is connected every other caller is sent away: one guard never takes orders from two
agents. A guard that cannot listen works on without a door; its agent can then not be replaced while it is active.
The path goes through /proc/self/fd, because a socket's path has room for 107 bytes and a directory may be longer.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 4
_CREDENTIALS_BYTES = 12
_REFUSED = b'{"type":"error","req":null,"code":"%s","text":"%s"}\n'


def door_path(runtime_dir: str, group: str) -> str:
    return f"{runtime_dir}/{group}.guard.sock"


class GuardDoor:
    """Owned by the one thread of a guard."""

    def __init__(self, path: str) -> None:
        """Raises OSError; a stale socket of a former guard is replaced."""
        self.path = path
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.umask(0o177)
        try:
            if os.path.lexists(path):
                os.unlink(path)
            self._socket.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
            self._socket.listen(BACKLOG)
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise
        finally:
            os.umask(before)
            os.close(directory)

    @property
    def fd(self) -> int:
        return self._socket.fileno()

    def answer(self, occupied: Callable[[], bool]) -> int:
        """The descriptor of a new controller, or -1: nobody, not one of us, or one too many."""
        try:
            fd, _address = self._socket._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - socket.accept's core
        except OSError:
            return -1
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        if not _is_ours(fd):
            return _send_away(fd, b"not-yours", b"this guard belongs to another user")
        if occupied():
            return _send_away(fd, b"controlled", b"another agent process controls this guard")
        return int(fd)

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def _is_ours(fd: int) -> bool:
    view = _socket.socket(fileno=os.dup(fd))
    try:
        data = view.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS_BYTES)
    finally:
        view.close()
    uid = int.from_bytes(data[4:8], sys.byteorder)
    return uid in (0, os.geteuid())


def _send_away(fd: int, code: bytes, text: bytes) -> int:
    with contextlib.suppress(OSError):  # it may be gone already
        os.write(fd, _REFUSED % (code, text))
    os.close(fd)
    return -1
