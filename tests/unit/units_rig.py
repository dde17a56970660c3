"""A fake root with systemd's directories, written as short text."""

from __future__ import annotations

from pathlib import Path

from agents.units.tree import Unit, UnitTree

ETC, RUN, LIB = "etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system"


class Root:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / LIB).mkdir(parents=True)
        (path / "lib").symlink_to("usr/lib")

    def file(self, place: str, text: str = "") -> Path:
        target = self.path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def link(self, place: str, to: str) -> None:
        target = self.path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(to)

    def service(self, name: str, *lines: str, place: str = LIB, unit: str = "") -> None:
        head = f"[Unit]\n{unit}\n" if unit else ""
        self.file(f"{place}/{name}", head + "[Service]\n" + "\n".join(lines) + "\n")

    def enable(self, name: str, by: str = "multi-user.target") -> None:
        self.link(f"{ETC}/{by}.wants/{name}", f"/{LIB}/{name}")

    @property
    def tree(self) -> UnitTree:
        return UnitTree(self.path)

    def load(self, name: str) -> Unit:
        unit = self.tree.load(name)
        assert unit is not None, f"no unit {name}"
        return unit
