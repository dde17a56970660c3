"""The agent's own files: directories, what they lie on, their room, key and certificate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.runtime.identity import require_own, require_own_member
from proto.edge.tls import EXPIRY_WARNING_DAYS
from proto.errors import BadValue, RemoteFault

MIB = 1024 * 1024
FREE_BYTES_WARNING = 64 * MIB
FREE_BYTES_MIN = 4 * MIB
VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs", "overlay"})
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs"})


def check_files(host: Host) -> Iterator[Finding]:
    state, runtime = host.settings.state_dir, host.settings.runtime_dir
    yield from _directory(state)
    yield from _directory(runtime)
    yield from _state(host, state)
    if _filesystem(host, runtime) not in ("tmpfs", "ramfs"):
        what = f"runtime_dir lies on {_filesystem(host, runtime) or 'an unknown file system'}"
        why = "records of guards would outlive a boot; they carry the boot id, so that costs time, not safety"
        yield Finding(Severity.NOTE, str(runtime), what, Promise.COMES_BACK, why, "choose a directory below /run")
    yield from _identity(host)


def _directory(path: Path) -> Iterator[Finding]:
    try:
        info = path.stat()
    except FileNotFoundError:
        return  # the agent makes it
    except OSError as error:
        what, why = f"cannot be looked at: {error.strerror}", "the agent could not use it either"
        yield Finding(Severity.BROKEN, str(path), what, Promise.COMES_BACK, why, "run as the agent's user, or as root")
        return
    if info.st_mode & 0o022:
        what = f"others may write there (mode {info.st_mode & 0o777:o})"
        why = "whoever replaces its files makes an old epoch valid again, or a guard of their own"
        yield Finding(Severity.BROKEN, str(path), what, Promise.NO_SPLIT_BRAIN, why, f"chmod 700 {path}")
    if info.st_uid not in (0, os.geteuid()):
        what = f"it belongs to user {info.st_uid}"
        why = "its owner may change what the agent relies on"
        yield Finding(Severity.WARNING, str(path), what, Promise.NO_SPLIT_BRAIN, why, f"chown root: {path}")


def _state(host: Host, state: Path) -> Iterator[Finding]:
    kind = _filesystem(host, state)
    if kind in VOLATILE - {"overlay"}:
        what = f"state_dir lies on {kind}"
        why = "the highest epoch and the store id would be forgotten at a boot"
        yield Finding(Severity.BROKEN, str(state), what, Promise.NO_SPLIT_BRAIN, why, "choose a directory on a disk")
    elif kind == "overlay":
        what = "state_dir lies in a container's own layer"
        why = "the highest epoch and the store id are forgotten when the container is made anew"
        yield Finding(Severity.BROKEN, str(state), what, Promise.NO_SPLIT_BRAIN, why, "mount a volume there")
    elif kind in REMOTE:
        what = f"state_dir lies on {kind}"
        why = "a server that hangs stops the agent, and two hosts could share one state"
        yield Finding(Severity.WARNING, str(state), what, Promise.COMES_BACK, why, "choose a directory on a local disk")
    free = _free_bytes(state)
    if free is not None and free < FREE_BYTES_WARNING:
        severity = Severity.BROKEN if free < FREE_BYTES_MIN else Severity.WARNING
        what = f"{free // MIB} MiB are free"
        why = "an epoch that cannot be stored is not begun: the site cannot take over"
        yield Finding(severity, str(state), what, Promise.COMES_BACK, why, "make room")


def _filesystem(host: Host, path: Path) -> str:
    """The type of the mount that holds the path, from the longest mount point that leads to it."""
    best, kind = "", ""
    for line in (host.text("proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right.split():
            continue
        point = fields[4].replace("\\040", " ")
        if (path.is_relative_to(point)) and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


def _free_bytes(path: Path) -> int | None:
    """Of the nearest directory above that exists."""
    for place in (path, *path.parents):
        try:
            info = os.statvfs(place)
        except OSError:
            continue
        return info.f_bavail * info.f_frsize
    return None


def _identity(host: Host) -> Iterator[Finding]:
    tls = host.settings.tls
    kind = "agent" if host.member is None else "member"
    speaks = "no witness speaks with this site" if host.member is None else "the lead does not speak with this host"
    try:
        own = require_own(host.settings) if host.member is None else require_own_member(host.member)
    except (BadValue, RemoteFault, OSError) as error:
        why = f"the {kind} does not start, or {speaks}"
        remedy = f"issue it with `witness pki issue {kind}` and copy all three files"
        yield Finding(Severity.BROKEN, str(tls.cert), str(error), Promise.COMES_BACK, why, remedy)
        return
    days = own.days_left(host.now_s)
    if days < EXPIRY_WARNING_DAYS:
        what = f"the certificate ends in {days:.0f} days"
        why = f"from then on {speaks}"
        remedy = f"issue it again with `witness pki issue {kind}`, copy the files, send SIGHUP"
        yield Finding(Severity.WARNING, str(tls.cert), what, Promise.COMES_BACK, why, remedy)
