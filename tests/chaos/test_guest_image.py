"""The guest's initramfs is a whole newc archive, and its program refuses what is not there. No emulator is needed."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from guestrig.guest_image import Archive, modules, write_image

from proto.errors import LocalFault

PROGRAM = Path(__file__).with_name("guest_run.py")


def entries(data: bytes) -> dict[str, tuple[int, int, bytes]]:
    """Name to mode, time of the change and content, as the kernel's own reader takes them."""
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        name_at = at + 110
        name = data[name_at : name_at + fields[11] - 1].decode()
        body_at = (name_at + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], fields[5], data[body_at : body_at + fields[6]])
        at = (body_at + fields[6] + 3) // 4 * 4


def test_directories_come_before_what_is_in_them_and_times_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"12345")
    (tmp_path / "a" / "link").symlink_to("file")
    (tmp_path / "a" / "tests").mkdir()
    (tmp_path / "a" / "tests" / "large").write_bytes(b"x")
    file = io.BytesIO()
    archive = Archive(file)
    assert list(archive.tree(tmp_path / "a")) == []
    archive.copy(tmp_path / "a" / "file")
    archive.close()
    found = entries(file.getvalue())
    inside = str(tmp_path / "a").lstrip("/")
    assert list(found).index(inside) < list(found).index(f"{inside}/file")
    mode, changed_s, content = found[f"{inside}/file"]
    assert (stat.S_ISREG(mode), changed_s, content) == (True, int((tmp_path / "a" / "file").stat().st_mtime), b"12345")
    assert stat.S_ISLNK(found[f"{inside}/link"][0])
    assert found[f"{inside}/link"][2] == b"file"
    assert not [name for name in found if "large" in name]


def test_the_image_has_init_interpreter_agent_and_the_sites_files(tmp_path: Path) -> None:
    kernel = tmp_path / "modules"
    kernel.mkdir()
    for name in ("virtio_net.ko", "other.ko"):
        (kernel / name).write_bytes(b"ELF")
    (tmp_path / "site.yaml").write_text("site: dc-a\n")
    write_image(tmp_path / "image", kernel, [tmp_path / "site.yaml"], {"command": ["agent"]})
    found = entries((tmp_path / "image").read_bytes())
    assert found["init"][2].startswith(f"#!{sys.prefix}/bin/python\n".encode())
    told = json.loads(found["guest.json"][2])
    assert told == {"command": ["agent"], "modules": [str(kernel / "virtio_net.ko")]}
    assert found[str(tmp_path / "site.yaml").lstrip("/")][2] == b"site: dc-a\n"
    assert str(Path(sys.executable).resolve()).lstrip("/") in found
    assert [name for name in found if name.endswith("agents/fencing/guard_main.py")]
    assert not [name for name in found if name.endswith("other.ko")]


def test_a_kernel_without_its_network_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match=r"virtio_net\.ko"):
        modules(tmp_path)


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--kernel", str(tmp_path / "nokernel"), "--modules", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "nokernel" in done.stderr
