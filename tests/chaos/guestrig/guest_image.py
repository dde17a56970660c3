"""An initramfs with this checkout, its interpreter and one site's files: a whole small machine, made without root.

The archive is the kernel's newc format. Paths are those of this machine, so that the environment works unchanged.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from proto.errors import LocalFault

ROOT = Path(__file__).resolve().parents[3]
INIT = Path(__file__).with_name("guest_init.py")
PROGRAMS = ("sh", "ip", "sleep")
MODULES = (
    *("virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net"),
)
"""One that a kernel has built in is not there to load."""
LEFT_OUT = re.compile(
    r"/(test|tests|idlelib|lib2to3|ensurepip|turtledemo|tkinter|pip|mypy|mypyc|hypothesis|apsw|pygments"
    r"|setuptools|config-3[^/]*|include|share)$|__mypyc\.[^/]*$|\.a$"
)
LIBRARY = re.compile(r"(/[^\s()]+\.so[^\s()]*)")


class Archive:
    """Written in one go; each directory before what is in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._names: set[str] = set()
        self._number = 0

    def close(self) -> None:
        self._entry("TRAILER!!!", 0, b"")

    def directory(self, path: Path) -> None:
        for one in [*reversed(path.parents), path]:
            self._entry(str(one), stat.S_IFDIR | 0o755, b"")

    def link(self, path: Path, target: str) -> None:
        self.directory(path.parent)
        self._entry(str(path), stat.S_IFLNK | 0o777, target.encode())

    def file(self, path: Path, data: bytes, mode: int, changed_s: int = 0) -> None:
        """The time of the change matters: it is what a compiled module is compared with."""
        self.directory(path.parent)
        self._entry(str(path), stat.S_IFREG | mode, data, changed_s)

    def copy(self, path: Path) -> None:
        """A file or a link of this machine, and what the link means."""
        if path.is_symlink():
            target = path.readlink()
            self.link(path, str(target))
            self.copy(path.parent / target)
        elif path.is_file():
            found = path.stat()
            self.file(path, path.read_bytes(), found.st_mode & 0o777, int(found.st_mtime))

    def tree(self, top: Path, besides: Path | None = None) -> Iterator[Path]:
        """Copies it; yields what else may need libraries."""
        for folder, directories, files in os.walk(top):
            here = Path(folder)
            self.directory(here)
            directories[:] = [
                name for name in directories if not LEFT_OUT.search(f"{here}/{name}") and here / name != besides
            ]
            for path in (here / name for name in (*files, *directories)):
                if path.is_symlink() or path.name in files:
                    if LEFT_OUT.search(str(path)):
                        continue
                    self.copy(path)
                    if ".so" in path.name:
                        yield path

    def _entry(self, name: str, mode: int, data: bytes, changed_s: int = 0) -> None:
        name = name.lstrip("/")
        if name in self._names or not name:
            return
        self._names.add(name)
        self._number += 1
        encoded = name.encode() + b"\0"
        fields = (self._number, mode, 0, 0, 1, changed_s, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._padded(head + encoded)
        self._padded(data)

    def _padded(self, data: bytes) -> None:
        self._file.write(data + bytes(-len(data) % 4))


def libraries(programs: Iterable[Path]) -> set[Path]:
    """What the loader needs for them."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in LIBRARY.findall(said) if Path(found).exists()}


def modules(kernel_modules: Path) -> list[Path]:
    found = {path.name.partition(".")[0]: path for path in kernel_modules.rglob("*.ko")}
    if "virtio_net" not in found:
        raise LocalFault(f"{kernel_modules}: no virtio_net.ko (uncompressed) in it")
    return [found[name] for name in MODULES if name in found]


def write_image(target: Path, kernel_modules: Path, site_files: Sequence[Path], told: dict[str, object]) -> None:
    """`told` is what the guest's init reads from /guest.json; modules are added to it."""
    prefix, environment = Path(sys.base_prefix), Path(sys.prefix)
    programs = [Path(shutil.which(name) or f"/bin/{name}") for name in PROGRAMS]
    loaded = modules(kernel_modules)
    with target.open("wb") as file:
        archive = Archive(file)
        for name in ("proc", "sys", "dev", "tmp", "run"):
            archive.directory(Path("/", name))
        needing = [Path(sys.executable).resolve(), *programs]
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        archive.copy(Path(sys.executable).resolve())
        needing += archive.tree(prefix / "lib" / version, besides=prefix / "lib" / version / "site-packages")
        needing += archive.tree(environment)
        for package in ("agents", "proto", "witness"):
            needing += archive.tree(ROOT / package)
        for path in (*programs, *libraries(needing), *loaded):
            archive.copy(path)
            archive.copy(path.resolve())
        for top in site_files:
            if top.is_dir():
                list(archive.tree(top))
            else:
                archive.copy(top)
        archive.link(Path("/bin/sh"), str(programs[0]))
        archive.file(
            Path("/guest.json"), json.dumps({**told, "modules": [str(path) for path in loaded]}).encode(), 0o600
        )
        interpreter = f"#!{environment / 'bin' / 'python'}\n".encode()
        archive.file(Path("/init"), interpreter + INIT.read_bytes(), 0o755)
        archive.close()
