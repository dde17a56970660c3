"""The control group of what a guard protects, and those of units that were left outside: frozen, killed, looked at.

Rule: freeze, then `cgroup.kill`, then proof: `populated 0`. The kernel kills every process of the group, those that
are being forked at that moment included, so nothing has to be found. A group of our own is made below the agent's (in
a service with `Delegate=yes`), the init of the namespace is put into it before it may run anything, and everything
that it starts inherits it. What was frozen and outlives its processes is thawed, or its next life would be born frozen.
Needs cgroup2 and Linux 5.14; where it cannot be had, the reason is said and the rungs around it do without.
"""

from __future__ import annotations

import errno
import os

MOUNTS = "/proc/self/mountinfo"
OWN = "/proc/self/cgroup"
PREFIX = "thirdsite-"
DEPTH_MAX = 16
_GONE = (errno.ENOENT, errno.ENODEV)
"""A group that is removed between the opening of its file and the use of it says ENODEV."""


class Cgroup:
    """One group of a cgroup2 hierarchy, by its directory. Owned by one guard."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def populated(self) -> bool:
        """Some process in it, or below it, is alive; a group that is gone has none. Raises OSError: not known."""
        return "populated 1" in self._read("cgroup.events")

    def kill(self) -> None:
        """Raises OSError; to a group that is gone nothing is done."""
        self._write("cgroup.freeze", "1")
        self._write("cgroup.kill", "1")

    def thaw(self) -> None:
        """Nothing to do for a group that is gone."""
        self._write("cgroup.freeze", "0")

    def require_kill(self) -> None:
        if not os.access(f"{self.path}/cgroup.kill", os.W_OK):
            raise OSError(errno.EOPNOTSUPP, "no cgroup.kill that we may write: needs Linux 5.14 and a delegated group")

    def add(self, pid: int) -> None:
        """Raises OSError, also when the group is not there."""
        fd = os.open(f"{self.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)

    def remove(self) -> None:
        """With the groups below it, which the platform may have made; one that is in use stays."""
        _remove(self.path, DEPTH_MAX)

    def _read(self, name: str) -> str:
        try:
            with open(f"{self.path}/{name}", encoding="ascii") as file:
                return file.read()
        except OSError as error:
            if error.errno in _GONE:
                return ""
            raise

    def _write(self, name: str, text: str) -> None:
        try:
            fd = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.write(fd, text.encode())
        except OSError as error:
            if error.errno not in _GONE:
                raise
        finally:
            os.close(fd)


def mount_point() -> str:
    """Where cgroup2 is mounted; raises OSError when it is not."""
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                return before.split()[4]
    raise OSError(errno.ENOENT, "cgroup2 is not mounted")


def is_mounted() -> bool:
    try:
        mount_point()
    except OSError:
        return False
    return True


def outside_cgroup(path: str) -> Cgroup:
    """Of a unit that was left outside, by its path below the mount."""
    return Cgroup(f"{mount_point()}/{path.strip('/')}")


def end_outside(paths: tuple[str, ...]) -> list[str]:
    """Kills what is alive in them and looks; what stands against "ended", in words. Called again until it is so."""
    problems = []
    for path in paths:
        try:
            problems += _ended(path)
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    return problems


def _ended(path: str) -> list[str]:
    one = outside_cgroup(path)
    if one.populated():
        one.kill()
        if one.populated():
            return [f"{path}: a process in it is alive"]
    one.thaw()
    return []


def own_cgroup(group: str) -> Cgroup:
    """Made below this process's own group; the pid in its name keeps two guards of one group apart."""
    with open(OWN, encoding="utf-8", errors="surrogateescape") as file:
        below = next((line.rstrip("\n")[3:] for line in file if line.startswith("0::")), None)
    if below is None:
        raise OSError(errno.ENOENT, "this process is in no group of cgroup2")
    parent = f"{mount_point()}{below.rstrip('/')}"
    _sweep(parent, f"{PREFIX}{group}-")
    made = Cgroup(f"{parent}/{PREFIX}{group}-{os.getpid()}")
    os.makedirs(made.path, exist_ok=True)
    try:
        made.require_kill()
    except OSError:
        made.remove()
        raise
    return made


def _sweep(parent: str, prefix: str) -> None:
    """Empty ones of guards that the kernel ended: nobody else takes them away."""
    for name in os.listdir(parent):
        one = Cgroup(f"{parent}/{name}")
        if name.startswith(prefix) and name.removeprefix(prefix).isdigit() and not one.populated():
            one.remove()


def _remove(path: str, depth: int) -> None:
    if depth == 0:
        return
    try:
        below = [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        for one in below:
            _remove(one, depth - 1)
        os.rmdir(path)
    except OSError:
        return  # gone, or in use by something that was moved into it
