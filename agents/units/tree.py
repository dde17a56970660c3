"""Reads systemd's units from a root directory, in systemd's own order; never asks systemd, never changes anything.

Rule (systemd.unit(5)): the fragment is the first file of that name in the load path; a link to /dev/null, or an empty
file, masks it. Drop-ins come from `NAME.d` of every directory of the path, from template and prefix directories, and
last from `service.d`; of equally named files the first counts, and all are applied in the order of their names, after
the fragment. An empty assignment clears the list before it. A link to another name is an alias; drop-ins of every
alias apply. Absolute links are followed inside the root, so that an image or a test's directory is read as its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agents.units.names import drop_in_names, template_of, unit_type
from agents.units.text import Assignment, assignments

LOAD_PATH = (
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
)
UNIT_TYPES = frozenset(
    {"service", "socket", "target", "timer", "path", "mount", "automount", "swap", "device", "slice"}
)
FILE_BYTES_MAX = 1024 * 1024
LINKS_MAX = 40


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as systemd would load it."""

    name: str
    names: tuple[str, ...]
    """Its own and every alias."""
    fragment: str
    masked: bool
    drop_ins: tuple[str, ...]
    settings: tuple[Assignment, ...]

    def values(self, section: str, key: str) -> list[str]:
        """Of a list: everything since the last empty assignment."""
        found: list[str] = []
        for one in self.settings:
            if (one.section, one.key) == (section, key):
                found = [*found, one.value] if one.value else []
        return found

    def last(self, section: str, key: str, otherwise: str = "") -> str:
        """Of a single value: the last assignment, an empty one gives the default."""
        found = [one.value for one in self.settings if (one.section, one.key) == (section, key)]
        return (found[-1] if found else "") or otherwise

    def words(self, section: str, key: str) -> list[str]:
        return [word for value in self.values(section, key) for word in value.split()]


class UnitTree:
    """A look at one moment; make a new one to look again."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    @cached_property
    def directories(self) -> tuple[Path, ...]:
        """Those that are there; /lib is often a link to /usr/lib and then read once."""
        found: dict[Path, None] = {}
        for place in LOAD_PATH:
            real = self.resolved(self.root / place)
            if real.is_dir():
                found.setdefault(real)
        return tuple(found)

    def shown(self, path: Path) -> str:
        """As the host itself would call the file."""
        return "/" + str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def resolved(self, path: Path) -> Path:
        """Through links, without leaving the root. A dangling link gives where it points to."""
        for _ in range(LINKS_MAX):
            at = self.root
            parts = path.relative_to(self.root).parts
            for number, part in enumerate(parts):
                at = at / part
                if at.is_symlink():
                    target = at.readlink()
                    base = self.root / target.relative_to("/") if target.is_absolute() else at.parent / target
                    path = _normal(base.joinpath(*parts[number + 1 :]), self.root)
                    break
            else:
                return at
        return path

    def is_null(self, path: Path) -> bool:
        """Masked: a link to /dev/null, or nothing in it."""
        real = self.resolved(path)
        return real == self.root / "dev/null" or (real.is_file() and real.stat().st_size == 0)

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The file that counts for each name: the first in the load path."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            for entry in sorted(directory.iterdir()):
                if unit_type(entry.name) in UNIT_TYPES and not entry.is_dir():
                    found.setdefault(entry.name, entry)
        return found

    @cached_property
    def _aliases(self) -> dict[str, str]:
        """Alias -> the name that it stands for."""
        found: dict[str, str] = {}
        for name, path in self._files.items():
            if path.is_symlink() and not self.is_null(path):
                target = self.resolved(path).name
                if target != name and unit_type(target) == unit_type(name):
                    found[name] = target
        return found

    def names(self) -> tuple[str, ...]:
        """Of every unit that has a file, aliases left out."""
        return tuple(sorted(name for name in self._files if name not in self._aliases))

    def identity(self, name: str) -> str:
        """What the name stands for, through aliases."""
        for _ in range(LINKS_MAX):
            if name not in self._aliases:
                break
            name = self._aliases[name]
        return name

    def load(self, name: str, without: str = "") -> Unit | None:
        """None when nothing of that name is there; `without`: a drop-in's file name to be left out."""
        name = self.identity(name)
        path = self._files.get(name) or self._files.get(template_of(name) or "")
        names = (name, *sorted(alias for alias in self._aliases if self.identity(alias) == name))
        drop_ins = [file for file in self._drop_ins(names) if file.name != without]
        if path is None and not drop_ins:
            return None
        masked = path is not None and self.is_null(path)
        files = [*([] if path is None or masked else [path]), *drop_ins]
        settings = tuple(one for file in files for one in self._read(file))
        fragment = "" if path is None else self.shown(path)
        return Unit(name, names, fragment, masked, tuple(self.shown(file) for file in drop_ins), settings)

    def _drop_ins(self, names: tuple[str, ...]) -> list[Path]:
        places = [
            directory / f"{of}.d" for name in names for directory in self.directories for of in drop_in_names(name)
        ]
        places += [directory / f"{unit_type(names[0])}.d" for directory in self.directories]
        found: dict[str, Path] = {}
        for place in places:
            for entry in sorted(place.iterdir()) if place.is_dir() else ():
                if entry.name.endswith(".conf"):
                    found.setdefault(entry.name, entry)
        return [found[name] for name in sorted(found) if not self.is_null(found[name])]

    def _read(self, path: Path) -> Iterator[Assignment]:
        real = self.resolved(path)
        try:
            with real.open("rb") as file:
                text = file.read(FILE_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return
        yield from assignments(text, self.shown(path))

    def pulls(self) -> Iterator[tuple[str, str, str]]:
        """(owner, unit, link) of every link in a `.wants`, `.requires` or `.upholds` directory that is not masked."""
        seen: set[tuple[str, str]] = set()
        for directory in self.directories:
            for place in sorted(directory.iterdir()):
                owner, _, kind = place.name.rpartition(".")
                if kind not in ("wants", "requires", "upholds") or not place.is_dir():
                    continue
                for link in sorted(place.iterdir()):
                    if (place.name, link.name) in seen:
                        continue
                    seen.add((place.name, link.name))
                    if not self.is_null(link):
                        yield self.identity(owner), self.identity(link.name), self.shown(link)


def _normal(path: Path, root: Path) -> Path:
    """Without `..`, which never leads out of the root."""
    parts: list[str] = []
    for part in path.relative_to(root).parts:
        if part == "..":
            parts[-1:] = []
        else:
            parts.append(part)
    return root.joinpath(*parts)
