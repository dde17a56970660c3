"""A permit by itself: its bytes, its file, its rules, and the offline commands that make and show one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from proto.edge.permit_file import FILE_BYTES_MAX, load_permit_text, read_permit, sign_permit, verify_permit
from proto.errors import BadValue
from proto.lease import LeaseConstants
from proto.permit import (
    CALENDAR_SLACK_MS,
    EPOCH_LEAP,
    LIFETIME_MS_MAX,
    PERMIT_EPOCH_MAX,
    Permit,
    PermitTerms,
    calendar_problem,
    check_permit,
    check_terms,
    confirmation,
    unanswered_wait,
)
from proto.permit_codec import PERMITS
from proto.units import NS_PER_MS, ClusterId, Epoch, GroupId, SiteId, WallMs
from witness.pki.break_glass import Wish, create_key, find_key, issue_permit
from witness.pki.break_glass_cli import app

CLUSTER = ClusterId("c" * 32)
NOW = WallMs(1_800_000_000_000)
PERMIT = Permit(
    CLUSTER, GroupId("erp"), SiteId("dc-b"), b"p" * 16, Epoch(17 + EPOCH_LEAP), NOW, WallMs(NOW + 3_600_000)
)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw().hex()
WORDS = "correct horse battery"


# -- bytes and file ---------------------------------------------------------------------------------------


def test_what_was_signed_is_what_is_read():
    text = sign_permit(PERMIT, KEY)
    assert verify_permit(text, PUBLIC) == read_permit(text) == PERMIT
    assert len(text) < FILE_BYTES_MAX
    assert verify_permit(text.replace("\n", "\r\n"), PUBLIC) == PERMIT, "a file that went over a Windows machine"


@given(st.integers(0, 1_000), st.integers(1, 255))
def test_a_changed_byte_never_passes(at, change):
    text = sign_permit(PERMIT, KEY)
    raw = bytearray(text.encode())
    raw[at % len(raw)] ^= change
    try:
        made = verify_permit(raw.decode("latin-1"), PUBLIC)
    except BadValue:
        return
    assert made == PERMIT, "only white space around it may have changed"
    assert raw.decode("latin-1").strip() == text.strip()


def test_another_key_a_cut_file_and_a_bare_signature_are_refused():
    text = sign_permit(PERMIT, KEY)
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw().hex()
    with pytest.raises(BadValue, match="not signed with this key"):
        verify_permit(text, other)
    lines = text.splitlines()
    for wrong in (
        "",
        text + text,
        "\n".join(lines[1:]),
        "\n".join([lines[0], lines[1][:-1], *lines[2:]]),
        "\n".join([lines[0], "".join(lines[1:-1]), lines[-1]]),
        text + "x" * FILE_BYTES_MAX,
    ):
        with pytest.raises(BadValue):
            read_permit(wrong)
    signature = KEY.sign(PERMITS.encode(PERMIT))  # without the prefix: what another tool might sign with the key
    forged = sign_permit(PERMIT, _Signing(signature))
    with pytest.raises(BadValue, match="not signed with this key"):
        verify_permit(forged, PUBLIC)


class _Signing:
    def __init__(self, signature: bytes) -> None:
        self._signature = signature

    def sign(self, _data: bytes) -> bytes:
        return self._signature


def test_a_file_that_is_no_permit_is_refused(tmp_path: Path):
    large = tmp_path / "large"
    large.write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path in (large, binary, tmp_path, tmp_path / "none"):
        with pytest.raises(BadValue):
            load_permit_text(path)


# -- rules ------------------------------------------------------------------------------------------------

BROKEN = {
    "group": replace(PERMIT, group=GroupId("No Name")),
    "site": replace(PERMIT, site=SiteId("")),
    "id": replace(PERMIT, permit=b"short"),
    "epoch 0": replace(PERMIT, epoch=Epoch(0)),
    "epoch without room above": replace(PERMIT, epoch=Epoch(PERMIT_EPOCH_MAX + 1)),
    "ends before it begins": replace(PERMIT, use_by_ms=NOW),
    "lies about for ever": replace(PERMIT, use_by_ms=WallMs(NOW + LIFETIME_MS_MAX + 1)),
}


@pytest.mark.parametrize("permit", BROKEN.values(), ids=BROKEN.keys())
def test_a_permit_that_breaks_a_rule_is_neither_signed_nor_read(permit):
    with pytest.raises(BadValue):
        check_permit(permit)
    with pytest.raises(BadValue):
        sign_permit(permit, KEY)


def test_the_calendar_fails_closed():
    assert calendar_problem(PERMIT, NOW, NOW) == ""
    assert calendar_problem(PERMIT, PERMIT.use_by_ms, NOW) == ""
    assert "was to be used" in calendar_problem(PERMIT, WallMs(PERMIT.use_by_ms + 1), NOW)
    early = WallMs(NOW - CALENDAR_SLACK_MS - 1)
    assert "set this machine's clock right" in calendar_problem(PERMIT, early, WallMs(0))
    assert "has seen" in calendar_problem(PERMIT, NOW, WallMs(NOW + CALENDAR_SLACK_MS + 1)), "a clock that went back"


def test_terms_are_checked_only_where_there_are_permits():
    check_terms(PermitTerms("", 1), "x.")
    check_terms(PermitTerms(PUBLIC, 600_000), "x.")
    for terms in (PermitTerms(PUBLIC.upper()), PermitTerms(PUBLIC[1:]), PermitTerms(PUBLIC, 9_999)):
        with pytest.raises(BadValue, match=r"^x\."):
            check_terms(terms, "x.")


@given(st.integers(60_000, 86_400_000), st.integers(100, 100_000))
def test_a_site_is_never_ready_before_the_witnesses_count_it_as_silent(after_ms, drift_ppm):
    """The fastest site against the slowest witnesses, whose wall clocks are 2 s apart."""
    waited = unanswered_wait(after_ms, LeaseConstants(1_000, drift_ppm, 0))
    true_ns_at_least = waited * 1_000_000 / (1_000_000 + drift_ppm)
    counted_ms = true_ns_at_least * (1_000_000 - drift_ppm) / 1_000_000 / NS_PER_MS - CALENDAR_SLACK_MS
    assert counted_ms >= after_ms


def test_the_phrase_names_every_site_that_must_be_stopped():
    assert confirmation(GroupId("erp"), SiteId("dc-b"), (SiteId("dc-a"),)) == (
        "dc-a is stopped and stays stopped, activate erp at dc-b"
    )
    three = confirmation(GroupId("erp"), SiteId("dc-b"), (SiteId("dc-a"), SiteId("dc-c")))
    assert three.startswith("dc-a and dc-c are stopped")
    assert "every other site is stopped" in confirmation(GroupId("erp"), SiteId("dc-b"), ())


# -- the offline key --------------------------------------------------------------------------------------


def wish(**changes) -> Wish:
    base = Wish(GroupId("erp"), SiteId("dc-b"), Epoch(17), leap=True, use_by_ms=WallMs(NOW + 1_000))
    return replace(base, **changes)


def test_permits_of_one_group_never_share_an_epoch(tmp_path: Path):
    place = create_key(tmp_path / "key", CLUSTER, WORDS)
    now = datetime.fromtimestamp(NOW / 1_000, UTC)
    first, text = issue_permit(place, WORDS, wish(), now)
    assert verify_permit(text, place.public) == first
    assert first.epoch == 17 + EPOCH_LEAP
    second, _ = issue_permit(place, WORDS, wish(site=SiteId("dc-a")), now)
    assert second.epoch == first.epoch + 1, "permits that lie unused do not eat up the epochs"
    third, _ = issue_permit(place, WORDS, wish(epoch=second.epoch), now)
    assert third.epoch == second.epoch + EPOCH_LEAP, "the second one may have been used"
    other, _ = issue_permit(place, WORDS, wish(group=GroupId("web")), now)
    assert other.epoch == first.epoch, "each group has epochs of its own"
    with pytest.raises(BadValue, match="never share an epoch"):
        issue_permit(place, WORDS, wish(epoch=third.epoch, leap=False), now)
    exact, _ = issue_permit(place, WORDS, wish(epoch=Epoch(third.epoch + 1), leap=False), now)
    assert exact.epoch == third.epoch + 1
    assert len({one.permit for one in (first, second, third, other, exact)}) == 5


def test_the_key_is_encrypted_and_never_replaced_by_accident(tmp_path: Path):
    place = create_key(tmp_path / "key", CLUSTER, WORDS)
    assert b"ENCRYPTED" in place.key.read_bytes()
    assert place.key.stat().st_mode & 0o777 == 0o600
    for wrong in (None, "another passphrase"):
        with pytest.raises(BadValue, match="not opened by this passphrase"):
            issue_permit(place, wrong, wish())
    with pytest.raises(BadValue, match="--force"):
        create_key(tmp_path / "key", CLUSTER, WORDS)
    with pytest.raises(BadValue, match="at least 12"):
        create_key(tmp_path / "other", CLUSTER, "short")
    assert not (tmp_path / "other").exists()


def test_a_damaged_directory_signs_nothing(tmp_path: Path):
    one, two = (create_key(tmp_path / name, CLUSTER, None) for name in ("1", "2"))
    one.key.write_bytes(two.key.read_bytes())
    with pytest.raises(BadValue, match="do not belong together"):
        issue_permit(one, None, wish())
    (two.directory / "permits.jsonl").write_text("{}\n")
    with pytest.raises(BadValue, match="no line of the record"):
        issue_permit(two, None, wish())
    (two.directory / "break-glass.json").write_text("[]")
    with pytest.raises(BadValue, match="not what 'init' wrote"):
        find_key(two.directory)


# -- commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words"
    path.write_text(WORDS + "\n")
    return path


def run(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_three_commands_one_after_the_other(tmp_path: Path, words: Path):
    place, out = tmp_path / "stick", tmp_path / "erp.permit"
    made = run("init", "--cluster", CLUSTER, "--dir", place, "--passphrase-file", words)
    public = find_key(place).public
    assert made.exit_code == 0
    for needed in ("off all witnesses and sites", f"key: {public}", "encrypted"):
        assert needed in made.output
    asked = ("--group", "erp", "--site", "dc-b", "--dir", place, "--passphrase-file", words, "--out", out)
    permit = run("permit", *asked, "--epoch-above", 17, "--valid-for", "2h", "--json")
    said = json.loads(permit.output.splitlines()[-1])
    assert (said["group"], said["site"], said["epoch"]) == ("erp", "dc-b", 17 + EPOCH_LEAP)
    assert out.stat().st_mode & 0o777 == 0o600
    assert verify_permit(out.read_text(), public).permit.hex() == said["permit"]
    again = run("permit", *asked, "--epoch-above", 17)
    assert isinstance(again.exception, BadValue)
    assert again.exception.field == "--out"
    unchecked = run("show", out)
    assert "NOT" not in unchecked.output
    assert "not checked" in unchecked.output
    assert json.loads(run("show", out, "--dir", place, "--json").output)["signed"] is True
    wrong = run("show", out, "--key", "0" * 64)
    assert (wrong.exit_code, "NOT BY THIS KEY" in wrong.output) == (1, True)


def test_a_key_in_clear_says_so(tmp_path: Path):
    made = run("init", "--cluster", CLUSTER, "--dir", tmp_path / "k", "--no-passphrase")
    assert "IN CLEAR" in made.output
    said = run(
        "permit", "--group", "erp", "--site", "dc-b", "--dir", tmp_path / "k", "--out", tmp_path / "p", "--epoch", 9
    )
    assert said.exit_code == 0, said.output
    assert "no program checks that" in said.output


USAGE = {
    "both epochs": ("--epoch", 3, "--epoch-above", 3),
    "no epoch": (),
    "both times": ("--epoch", 3, "--valid-for", "1h", "--use-by", "2099-01-01T00:00Z"),
    "no time": ("--epoch", 3, "--use-by", "tomorrow"),
    "no zone": ("--epoch", 3, "--use-by", "2099-01-01T00:00"),
    "over": ("--epoch", 3, "--use-by", "2020-01-01T00:00Z"),
    "no duration": ("--epoch", 3, "--valid-for", "3"),
    "too long": ("--epoch", 3, "--valid-for", "90d"),
}


@pytest.mark.parametrize("options", USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_names_its_option_and_makes_nothing(tmp_path: Path, options):
    place = create_key(tmp_path / "k", CLUSTER, None)
    base = ("permit", "--group", "erp", "--site", "dc-b", "--dir", place.directory, "--out", tmp_path / "p")
    result = run(*base, *options)
    assert isinstance(result.exception, BadValue)
    assert result.exception.field.startswith("--")
    assert not (tmp_path / "p").exists()
    assert not (place.directory / "permits.jsonl").exists()
