"""What a former guard left behind: found, ended and proven dead before an agent may activate anything.

Rule: a process is touched only when boot id, pid and start time are those of the record, through a pidfd. The
readable pidfd of a namespace's init proves the namespace empty; only then is the record taken away. What cannot be
proven raises NotProvenDown, and the agent stays down. Records of another boot prove themselves: nothing survived.
Blocking, bounded by `wait_s`; call it from a thread of an agent's loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from agents.fencing import life_lock, process_table, record_file
from agents.fencing.base import Containment, NotProvenDown

WAIT_S = 10.0
POLL_S = 0.02
LOCK_AGE_S = 60.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """One record, and whether its processes are alive now."""

    path: Path
    record: record_file.GuardRecord
    same_boot: bool
    guard_alive: bool
    init_alive: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """A leftover that is proven dead now; `waited_ms` from the first look to the proof."""

    leftover: Leftover
    waited_ms: int


def find_leftovers(runtime_dir: Path, group: str) -> tuple[Leftover, ...]:
    """All records of the group: its agent's guard and its exec guards. Changes nothing."""
    paths = [Path(record_file.record_path(str(runtime_dir), group)), *runtime_dir.glob(f"{group}.exec-*.guard")]
    return tuple(_look(path) for path in sorted(paths) if path.exists())


def end_leftovers(runtime_dir: Path, group: str, wait_s: float = WAIT_S) -> tuple[Ended, ...]:
    """Ends all of them and proves it; raises NotProvenDown."""
    ended = tuple(_end(leftover, wait_s) for leftover in find_leftovers(runtime_dir, group))
    _sweep_locks(runtime_dir, group)
    return ended


def _sweep_locks(runtime_dir: Path, group: str) -> None:
    """Of guards that were killed while they waited; a young one may be about to be taken."""
    for lock in runtime_dir.glob(f"{group}.exec-*{life_lock.SUFFIX}"):
        record = lock.with_suffix(".guard")
        with contextlib.suppress(OSError):
            old = time.time() - lock.stat().st_mtime > LOCK_AGE_S
            if old and not record.exists() and life_lock.is_held(str(record)) is False:
                lock.unlink()


def _look(path: Path) -> Leftover:
    try:
        data = path.read_bytes()[: record_file.RECORD_BYTES_MAX]
        record = record_file.GuardRecord.from_bytes(data)
    except (OSError, record_file.BadRecord) as error:
        raise NotProvenDown(
            f"{path} cannot be read ({error}): make sure that nothing of this group runs on this host, then remove it"
        ) from None
    same_boot = record.boot_id == process_table.boot_id()
    return Leftover(
        path,
        record,
        same_boot,
        same_boot and _alive(record.guard_pid, record.guard_started),
        same_boot and _alive(record.init_pid, record.init_started),
    )


def _alive(pid: int, started: int) -> bool:
    pidfd = process_table.open_process(pid, started)
    if pidfd is None:
        return False
    try:
        return not _ended(pidfd, 0)
    finally:
        os.close(pidfd)


def _ended(pidfd: int, wait_s: float) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(max(0, round(wait_s * 1_000))))


def _end(leftover: Leftover, wait_s: float) -> Ended:
    began = time.monotonic()
    if leftover.same_boot:
        _kill_and_prove(leftover, wait_s)
    record_file.remove(str(leftover.path))
    life_lock.remove(str(leftover.path))
    return Ended(leftover, round((time.monotonic() - began) * 1_000))


def _kill_and_prove(leftover: Leftover, wait_s: float) -> None:
    record, ends = leftover.record, time.monotonic() + wait_s
    weak = record.containment == Containment.PROCESS_GROUP.value
    with contextlib.ExitStack() as stack:
        pidfds: list[int] = []
        for pid, started in ((record.guard_pid, record.guard_started), (record.init_pid, record.init_started)):
            pidfd = process_table.open_process(pid, started)
            if pidfd is not None:
                stack.callback(os.close, pidfd)
                pidfds.append(pidfd)
                if pid == record.guard_pid or not weak:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pidfd in pidfds:
            if not _ended(pidfd, ends - time.monotonic()):
                raise NotProvenDown(f"{leftover.path}: guard or init is still alive {wait_s} s after its kill")
    if not pidfds and _container_is_gone(str(leftover.path)):
        return
    if weak and not _gone(leftover.path, ends if pidfds else 0.0):
        raise NotProvenDown(
            f"{leftover.path}: its guard ran without a PID namespace and ended without clearing the record, so what "
            f"it started may be alive: make sure that nothing of this group runs here, then remove the file"
        )


def _container_is_gone(path: str) -> bool:
    """Of a guard whose process ids mean nothing here. Raises NotProvenDown while it lives."""
    held = life_lock.is_held(path)
    if held is False:
        time.sleep(life_lock.SETTLE_S)
        held = life_lock.is_held(path)
    if held:
        raise NotProvenDown(
            f"{path}: its guard lives in another PID namespace (a container), where it cannot be ended from here; its "
            "deadline ends it"
        )
    return held is False and life_lock.of_container(path)


def _gone(path: Path, ends: float) -> bool:
    """The weak init takes the record away when it found nothing any more."""
    while path.exists():
        if time.monotonic() >= ends:
            return False
        time.sleep(POLL_S)
    return True
