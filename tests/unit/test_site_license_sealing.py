"""Sealing keys and boxes: what opens, what does not, which file is used, and what no text ever shows."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from site_license_rig import CLUSTER, G, L, version

from agents.license.key_file import (
    KEYS_MAX,
    KeyFileUnusable,
    KeyRing,
    draw_key,
    load_ring,
    rotated,
    save_ring,
    without_old,
)
from agents.license.sealing import FORMER_MAX, CannotOpen, Sealer, digest
from proto.codec import pack
from proto.license import BOX_BYTES_MAX, SealedKey, check_sealed
from proto.license_codec import associated_data
from proto.units import ClusterId, GroupId, LicenseName

SEALER = Sealer(CLUSTER, G, L)
KEY = b"VENDOR-KEY-0123456789"


@pytest.fixture
def ring():
    return KeyRing((draw_key(), draw_key()))


def test_what_was_sealed_opens_and_is_not_seen_in_the_box(ring):
    box = SEALER.seal(ring, version(2, 1), KEY)
    assert SEALER.open(ring, box).value == KEY
    assert KEY not in box.box
    assert check_sealed(box, "license") is box
    assert SEALER.seal(ring, version(2, 1), KEY).box != box.box


def test_the_longest_key_fits_a_box(ring):
    from agents.license.spec import VALUE_BYTES_MAX

    former = tuple(digest(b"%d" % number) for number in range(2 * FORMER_MAX))
    box = SEALER.seal(ring, version(1, 1), b"k" * VALUE_BYTES_MAX, former)
    assert len(box.box) <= BOX_BYTES_MAX
    assert SEALER.open(ring, box).former == former[-FORMER_MAX:]


def test_a_box_knows_its_predecessors_and_not_itself(ring):
    box = SEALER.seal(ring, version(2, 3), b"KEY-3", (digest(b"KEY-1"), digest(b"KEY-2"), digest(b"KEY-3")))
    opened = SEALER.open(ring, box)
    assert opened.replaced(b"KEY-1")
    assert opened.replaced(b"KEY-2")
    assert not opened.replaced(b"KEY-3")
    assert not opened.replaced(b"KEY-4")


@pytest.mark.parametrize("content", [[2, b"v", b""], [1, "v", b""], [1, b"v"], [1, b"v", b"abc"], b"v"])
def test_a_content_of_another_kind_does_not_open(ring, content):
    nonce, about = b"n" * 12, associated_data(CLUSTER, G, L, version(2, 1), ring.newest.key_id)
    box = ChaCha20Poly1305(ring.newest.secret).encrypt(nonce, pack(content), about)
    with pytest.raises(CannotOpen):
        SEALER.open(ring, SealedKey(version(2, 1), ring.newest.key_id, nonce, box))


@pytest.mark.parametrize(
    "moved",
    [
        Sealer(ClusterId("d" * 32), G, L),
        Sealer(CLUSTER, GroupId("other"), L),
        Sealer(CLUSTER, G, LicenseName("other")),
    ],
)
def test_a_box_that_was_moved_does_not_open(ring, moved):
    with pytest.raises(CannotOpen, match="another cluster"):
        moved.open(ring, SEALER.seal(ring, version(2, 1), KEY))


@pytest.mark.parametrize(
    "change",
    [
        {"version": version(2, 2)},
        {"version": version(3, 1)},
        {"nonce": b"x" * 12},
        {"box": b"y" * 40},
    ],
)
def test_a_box_that_was_changed_does_not_open(ring, change):
    with pytest.raises(CannotOpen):
        SEALER.open(ring, replace(SEALER.seal(ring, version(2, 1), KEY), **change))


def test_the_newest_key_seals_and_all_open(ring):
    old = SEALER.seal(KeyRing((ring.keys[1],)), version(2, 1), KEY)
    assert SEALER.open(ring, old).value == KEY
    assert SEALER.seal(ring, version(2, 2), KEY).key_id == ring.newest.key_id
    with pytest.raises(CannotOpen, match=old.key_id):
        SEALER.open(KeyRing((ring.newest,)), old)


def test_no_text_shows_a_key(ring):
    box = SEALER.seal(ring, version(2, 1), KEY)
    shown = f"{ring!r} {ring.newest!r} {box!r}"
    assert ring.newest.secret.hex() not in shown
    assert repr(ring.newest.secret) not in shown


# -- the file ---------------------------------------------------------------------------------------------


def test_a_ring_is_the_same_after_the_disk(tmp_path, ring):
    save_ring(tmp_path / "k", ring)
    assert load_ring(tmp_path / "k") == ring
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


def test_rotation_puts_the_new_key_in_front_until_the_old_one_is_dropped(ring):
    more = rotated(ring)
    assert more.keys[1:] == ring.keys
    assert without_old(more, frozenset({ring.keys[1].key_id})).keys == (more.newest, ring.keys[1])
    assert without_old(more, frozenset()).keys == (more.newest,)


def test_a_full_ring_says_what_to_do():
    with pytest.raises(KeyFileUnusable, match="drop-old"):
        rotated(KeyRing(tuple(draw_key() for _ in range(KEYS_MAX))))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_not_used(tmp_path, ring, mode):
    path = tmp_path / "k"
    save_ring(path, ring)
    path.chmod(mode)
    with pytest.raises(KeyFileUnusable, match="chmod 600"):
        load_ring(path)


def test_a_directory_that_others_may_write_is_not_used(tmp_path, ring):
    save_ring(tmp_path / "k", ring)
    tmp_path.chmod(0o777)
    with pytest.raises(KeyFileUnusable, match="go-w"):
        load_ring(tmp_path / "k")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_not_used(tmp_path, ring):
    save_ring(tmp_path / "k", ring)
    os.chown(tmp_path / "k", 4711, 4711)
    with pytest.raises(KeyFileUnusable, match="4711"):
        load_ring(tmp_path / "k")


def test_a_link_and_a_missing_file_are_not_used(tmp_path, ring):
    save_ring(tmp_path / "k", ring)
    (tmp_path / "l").symlink_to(tmp_path / "k")
    with pytest.raises(KeyFileUnusable, match="no regular file"):
        load_ring(tmp_path / "l")
    with pytest.raises(KeyFileUnusable, match="new-key"):
        load_ring(tmp_path / "nothing")


@pytest.mark.parametrize("damage", ["cut", "digit", "word", "empty", "binary", "twice"])
def test_a_damaged_file_says_so_and_shows_nothing_of_it(tmp_path, ring, damage):
    path = tmp_path / "k"
    save_ring(path, ring)
    text = path.read_text()
    secret = ring.newest.secret.hex()
    last = "1" if secret[-1] == "0" else "0"
    path.write_bytes(
        {
            "cut": text[:-4].encode(),
            "digit": text.replace(secret, secret[:-1] + last).encode(),
            "word": text.replace("thirdsite-sealing-key-1", "some-key").encode(),
            "empty": b"# nothing\n",
            "binary": b"\xff\xfe" * 8,
            "twice": (text + text).encode(),
        }[damage]
    )
    with pytest.raises(KeyFileUnusable) as refused:
        load_ring(path)
    assert secret[:-1] not in str(refused.value)
    assert str(path) in str(refused.value)
