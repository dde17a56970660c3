"""What a site keeps of a license: never going back, whole after a crash, and damage that is not taken for nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from site_license_rig import G, L, SiteOf, sealed, version

from agents.core.license import TWO_WRITERS
from agents.core.license_rules import InPlace
from agents.license import store
from agents.license.keeper import KEY_FILE, NOT_STORED, LicenseKeeper
from agents.license.key_file import KeyRing, draw_key, rotated, save_ring
from agents.license.store import HISTORY_MAX, Escrow, EscrowFile, Kept, with_newer
from proto.errors import DurabilityLost


def test_a_version_never_goes_back():
    first, _ = with_newer(Escrow(), sealed(2, 3))
    assert with_newer(first, sealed(2, 2)) == (first, Kept.OLDER)
    assert with_newer(first, sealed(1, 9)) == (first, Kept.OLDER)
    assert with_newer(first, sealed(2, 3)) == (first, Kept.SAME)
    assert with_newer(first, replace(sealed(2, 3), box=b"z" * 20)) == (first, Kept.CONFLICT)
    later, kept = with_newer(first, sealed(3, 1))
    assert kept is Kept.STORED
    assert [one.version for one in later.known()] == [version(3, 1), version(2, 3)]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), max_size=30))
def test_in_whatever_order_they_come_the_newest_stays(versions):
    escrow, best = Escrow(), None
    for pair in versions:
        escrow, _ = with_newer(escrow, sealed(*pair))
        best = pair if best is None else max(best, pair)
        assert escrow.newest is not None
        assert tuple(escrow.newest.version) == best
        known = [one.version for one in escrow.known()]
        assert known == sorted(set(known), reverse=True)


def test_it_is_the_same_after_the_disk(tmp_path):
    file = EscrowFile(tmp_path, G, L)
    escrow = Escrow(sealed(2, 3), (sealed(2, 2), sealed(1, 1)), version(2, 2))
    file.save(escrow)
    assert EscrowFile(tmp_path, G, L).load() == escrow
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_the_fullest_file_is_read_again(tmp_path):
    big = replace(sealed(9, 99), box=b"b" * 4_096)
    escrow = Escrow(big, tuple(replace(big, version=version(1, number)) for number in range(HISTORY_MAX, 0, -1)))
    EscrowFile(tmp_path, G, L).save(escrow)
    assert EscrowFile(tmp_path, G, L).load() == escrow


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"sha256": "0"}', b"\xff" * 50, b"null"])
def test_a_damaged_file_is_told_and_moved_aside(tmp_path, damage):
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    keeper.file.path.write_bytes(damage)
    again = site.keeper()
    assert again.kept().damaged
    assert again.keep(sealed(2, 1)) == ""
    assert (tmp_path / "a" / f"{G}.license-{L}").exists()
    assert not site.keeper().kept().damaged


def test_another_licenses_file_is_not_taken(tmp_path):
    file = EscrowFile(tmp_path, G, L)
    file.save(Escrow(sealed(2, 3)))
    fields = json.loads(file.path.read_text())
    fields["license"] = "other"
    file.path.write_text(json.dumps(fields))
    assert file.load().damaged


def test_a_crash_while_it_is_written_leaves_the_former_one(tmp_path, monkeypatch):
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    assert keeper.seal(b"one", version(2, 1)) == ""

    def fails(*_args, **_fields):
        raise DurabilityLost("the disk is full")

    monkeypatch.setattr(store, "write_atomic", fails)
    assert keeper.seal(b"two", version(2, 2)) == NOT_STORED
    assert keeper.kept().held == version(2, 1)
    with pytest.raises(DurabilityLost):
        keeper.keep(sealed(3, 1))
    monkeypatch.undo()
    assert site.keeper().kept().held == version(2, 1)
    assert keeper.seal(b"two", version(2, 2)) == ""
    assert site.keeper().kept().held == version(2, 2)


# -- with keys and places ---------------------------------------------------------------------------------


def test_no_file_of_a_site_holds_a_key_in_clear(tmp_path):
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    for number in range(1, 5):
        keeper.seal(f"SECRET-{number}".encode(), version(2, number))
    written = b"".join(path.read_bytes() for path in site.root.iterdir() if path != site.place)
    assert b"SECRET" not in written
    assert "SECRET" not in repr(keeper.escrow)


def test_the_key_in_place_is_known_again(tmp_path):
    keeper = SiteOf(tmp_path / "a", pattern="[A-Z0-9-]+", size_min=3).keeper()
    keeper.seal(b"KEY-1", version(2, 1))
    keeper.seal(b"KEY-2", version(2, 2))
    assert keeper.compare(b"KEY-2").place is InPlace.NEWEST
    assert keeper.compare(b"KEY-2").version == version(2, 2)
    assert keeper.compare(b"KEY-1").place is InPlace.OLDER
    assert keeper.compare(b"KEY-3").place is InPlace.UNKNOWN
    for none in (None, b"XX", b"lower case", b"K" * 5_000):
        assert keeper.compare(none).place is InPlace.ABSENT
        assert keeper.compare(none).problem


def test_a_site_that_was_away_knows_the_old_key_of_its_replica(tmp_path):
    """It never got the box of KEY-1, and KEY-0 was in place before anything was sealed at all."""
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    assert keeper.compare(b"KEY-0").place is InPlace.UNKNOWN
    for number in (1, 2, 3):
        keeper.seal(f"KEY-{number}".encode(), version(2, number))
    away = SiteOf(tmp_path / "b", site.ring).keeper()
    away.keep(keeper.kept().newest)
    for old in (b"KEY-0", b"KEY-1", b"KEY-2"):
        assert away.compare(old).place is InPlace.OLDER
    assert away.compare(b"KEY-3").place is InPlace.NEWEST
    assert away.compare(b"KEY-4").place is InPlace.UNKNOWN


def test_what_is_known_of_predecessors_goes_on_over_sites(tmp_path):
    site = SiteOf(tmp_path / "a")
    first, second = site.keeper(), SiteOf(tmp_path / "b", site.ring).keeper()
    first.seal(b"KEY-1", version(2, 1))
    second.keep(first.kept().newest)
    second.seal(b"KEY-2", version(3, 2))
    first.keep(second.kept().newest)
    assert first.compare(b"KEY-1").place is InPlace.OLDER
    assert second.compare(b"KEY-1").place is InPlace.OLDER


def test_the_same_key_is_not_sealed_twice_in_an_epoch_but_again_in_the_next(tmp_path):
    keeper = SiteOf(tmp_path / "a").keeper()
    keeper.seal(b"KEY", version(2, 1))
    keeper.seal(b"KEY", version(2, 2))
    assert keeper.kept().held == version(2, 1)
    keeper.seal(b"KEY", version(3, 2))
    assert keeper.kept().held == version(3, 2)


def test_what_another_site_sealed_opens_with_the_same_file_and_not_with_another(tmp_path):
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    keeper.seal(b"KEY", version(2, 1))
    newest = keeper.kept().newest
    twin, stranger = SiteOf(tmp_path / "b", site.ring).keeper(), SiteOf(tmp_path / "c").keeper()
    for one in (twin, stranger):
        assert one.keep(newest) == ""
    assert (twin.kept().held, twin.kept().opens) == (version(2, 1), True)
    assert (stranger.kept().held, stranger.kept().opens) == (None, False)
    assert stranger.kept().newest == newest


def test_two_writers_of_one_version_are_told(tmp_path):
    site = SiteOf(tmp_path / "a")
    keeper, other = site.keeper(), SiteOf(tmp_path / "b", site.ring).keeper()
    keeper.seal(b"KEY", version(2, 1))
    other.seal(b"OTHER", version(2, 1))
    assert keeper.keep(other.kept().newest) == TWO_WRITERS
    assert keeper.compare(b"KEY").place is InPlace.NEWEST


def test_a_missing_sealing_key_is_a_problem_and_its_return_is_seen(tmp_path):
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    keeper.seal(b"KEY", version(2, 1))
    site.key_file.unlink()
    assert keeper.seal(b"NEXT", version(2, 2)) == KEY_FILE
    assert not keeper.kept().opens
    assert str(site.key_file) in keeper.key_problem
    save_ring(site.key_file, site.ring)
    assert keeper.kept().opens
    assert keeper.key_problem == ""


def test_after_a_rotation_everything_is_resealed_and_the_old_key_may_go(tmp_path):
    site = SiteOf(tmp_path / "a")
    keeper: LicenseKeeper = site.keeper()
    keeper.seal(b"KEY-1", version(2, 1))
    keeper.seal(b"KEY-2", version(2, 2))
    assert not keeper.reseal_due()
    ring = rotated(site.ring)
    save_ring(site.key_file, ring)
    assert keeper.reseal_due()
    assert keeper.seal(b"KEY-2", version(2, 3)) == ""
    save_ring(site.key_file, KeyRing((ring.newest,)))
    assert keeper.compare(b"KEY-1").place is InPlace.OLDER
    assert keeper.compare(b"KEY-2").place is InPlace.NEWEST


def test_an_accepted_key_is_that_one_alone_and_only_until_it_is_sealed(tmp_path):
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    ring = keeper.ring()
    assert ring is not None
    keeper.accept(ring, b"MINE")
    later = site.keeper()
    assert later.accepted(b"MINE")
    assert not later.accepted(b"OTHER")
    assert not later.accepted(None)
    later.seal(b"MINE", version(2, 1))
    assert not later.accepted(b"MINE")


def test_a_draw_is_never_the_same():
    assert draw_key() != draw_key()


def test_what_cannot_be_removed_costs_no_other_license_anything(tmp_path):
    """A note that stays keeps its say until it can go; an accepted key is void by its version alone."""
    site = SiteOf(tmp_path / "a")
    keeper = site.keeper()
    keeper.seal(b"one", version(2, 1))
    keeper.file.accept("mark", version(2, 1))
    keeper.file.note_in_place(version(2, 1))
    for path in (keeper.file.placed_path, keeper.file.accepted_path):
        path.rename(path.with_suffix(".kept"))
        path.mkdir()  # what no unlink removes
    with pytest.raises(DurabilityLost, match="cannot be removed"):
        keeper.file.forget_placed()
    keeper.saw(None)
    assert keeper.seal(b"two", version(2, 2)) == ""
    assert site.keeper().file.accepted(version(2, 2)) == ""
