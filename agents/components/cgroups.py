"""Finds the control group of a systemd unit and what lives in it, without asking systemd.

Rule: the kernel's list of processes is the proof, whatever a manager believes. A unit without a control group runs
nothing; where no hierarchy of systemd is mounted nothing can be said. All paths start at a root that is passed in.
Unified hosts have one hierarchy; hybrid ones mirror it at `unified`; old ones have only the one named `systemd`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
SLICE_DEPTH_MAX = 16
PROCS = "cgroup.procs"


def hierarchy(root: Path = CGROUP_ROOT) -> Path | None:
    """Where systemd keeps its tree of slices, or None."""
    for place in (root, root / "unified", root / "systemd"):
        if (place / PROCS).is_file() and any(place.glob("*.slice")):
            return place
    return next((place for place in (root, root / "systemd") if (place / PROCS).is_file()), None)


def unit_groups(tree: Path, unit: str) -> tuple[Path, ...]:
    """The control groups of that name; slices are walked, nothing else."""
    return tuple(found / unit for found in _slices(tree, SLICE_DEPTH_MAX) if (found / unit).is_dir())


def _slices(place: Path, depth: int) -> Iterator[Path]:
    yield place
    if depth:
        for below in sorted(place.glob("*.slice")):
            yield from _slices(below, depth - 1)


def processes(group: Path) -> tuple[int, ...]:
    """Of the group and all below it; OSError when the kernel does not say."""
    found: list[int] = []
    for directory, _, files in os.walk(group, onerror=_gone):
        if PROCS in files:
            found += [int(line) for line in _lines(Path(directory) / PROCS)]
    return tuple(found)


def _gone(error: OSError) -> None:
    """A group that vanished while we walked holds nothing; anything else is no answer."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill(group: Path, spare: Iterable[int]) -> None:
    """SIGKILL to all of it but `spare`; in one go by the kernel when nothing is to be spared."""
    spared = frozenset(spare)
    victims = processes(group)
    if not spared.intersection(victims):
        for name in ("cgroup.freeze", "cgroup.kill"):
            with contextlib.suppress(OSError):  # not there before Linux 5.14 and in old hierarchies
                _write(group / name)
    for pid in victims:
        if pid not in spared:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _write(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)
