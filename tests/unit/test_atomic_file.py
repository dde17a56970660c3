"""Old content or new, never a mixture; the file system's failures are final."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue, DurabilityLost


def test_replaces_whole_and_private(tmp_path):
    path = tmp_path / "state"
    write_atomic(path, b"old")
    write_atomic(path, b"new content")
    assert path.read_bytes() == b"new content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "cert", b"x", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "cert").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "open"])
def test_a_failure_keeps_the_old_content_and_leaves_nothing_behind(tmp_path, monkeypatch, call):
    path = tmp_path / "state"
    write_atomic(path, b"old")

    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(DurabilityLost, match="No space left"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    write_atomic(tmp_path / "state", b"0123456789")
    assert (tmp_path / "state").read_bytes() == b"0123456789"


def test_everything_is_synced_before_and_after_the_rename(tmp_path, monkeypatch):
    done = []
    real_sync, real_rename = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real_sync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_rename(a, b)))
    write_atomic(tmp_path / "state", b"x")
    assert done[0].endswith(".tmp")
    assert done[1:] == ["rename", str(tmp_path)]


def test_reading_is_capped_and_takes_only_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_capped(path, 10) == b"x" * 10
    with pytest.raises(BadValue, match="larger than 9 bytes"):
        read_capped(path, 9)
    with pytest.raises(BadValue, match="regular file"):
        read_capped(tmp_path, 9)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadValue, match="regular file"):
        read_capped(tmp_path / "pipe", 9)
    with pytest.raises(FileNotFoundError):
        read_capped(tmp_path / "none", 9)
