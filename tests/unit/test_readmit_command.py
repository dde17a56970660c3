"""`witness readmit`: what it says, what it refuses, and that nothing is ever deleted (O4, O5, O6, D-25)."""

from __future__ import annotations

import errno
import json
import re
import socket
import sys
from pathlib import Path

import pytest
from backup_rig import Life, opened, settings_of
from core_rig import W

from proto.errors import BadValue
from witness import __main__ as command
from witness.raft.posix_disk import as_disk
from witness.raft.standing import Standing
from witness.raft.store import STORE_NAME, StoreRefused, create_store
from witness.raft.store_checks import refusal
from witness.raft.suffrage import standing_in
from witness.readmit import WIDTH, explain, perform, plan_readmission, require_name
from witness.settings import WitnessSettings

CONFIG = Path("witness.yaml")


def readmitted(settings: WitnessSettings) -> str:
    return "\n".join(perform(plan_readmission(settings), CONFIG))


def standing(settings: WitnessSettings) -> Standing:
    store = opened(settings)
    try:
        return standing_in(store)
    finally:
        store.close()


def test_a_blank_machine_gets_a_learner(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    said = readmitted(settings)
    assert standing(settings) is Standing.LEARNER
    assert "put aside" not in said
    assert "witness run -c witness.yaml" in said


@pytest.mark.parametrize("harm", ["whole", "damaged", "half moved"])
def test_what_is_there_is_put_aside_as_it_is(tmp_path: Path, harm: str) -> None:
    settings = settings_of(tmp_path)
    Life().store(settings, snapshot_at=2)
    store = settings.data_dir / STORE_NAME
    if harm == "damaged":
        store.write_bytes(b"rot" * 1_000)
    if harm == "half moved":
        store.unlink()
    before = {path.name: path.read_bytes() for path in settings.data_dir.iterdir() if path.name != "lock"}
    said = readmitted(settings)
    aside = settings.data_dir / "aside-1"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
    assert str(aside) in said
    assert "may be deleted" in said
    assert standing(settings) is Standing.LEARNER


def test_twice_keeps_both_and_draws_a_new_disk(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    readmitted(settings)
    first = opened(settings)
    first.close()
    readmitted(settings)
    second = opened(settings)
    second.close()
    assert first.incarnation != second.incarnation
    assert (settings.data_dir / "aside-1" / STORE_NAME).exists()


def test_a_running_witness_is_refused_before_anything_moves(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    create_store(settings.data_dir, settings.cluster, settings.witness)
    running = opened(settings)
    with pytest.raises(StoreRefused, match="in use by another process"):
        plan_readmission(settings)
    running.close()
    assert not (settings.data_dir / "aside-1").exists()
    assert standing(settings) is Standing.VOTER


def test_the_only_witness_is_refused_and_told_of_restore(tmp_path: Path) -> None:
    settings = WitnessSettings(**{**_fields(settings_of(tmp_path)), "peers": ()})
    with pytest.raises(StoreRefused, match=r"only witness of its cluster.*witness restore"):
        plan_readmission(settings)


def _fields(settings: WitnessSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in WitnessSettings.__dataclass_fields__}


def test_the_screen_fits_and_says_rule_effect_and_who_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = settings_of(tmp_path, **{W[1]: listening.getsockname()[1]})
        lines = list(explain(plan_readmission(settings)))
    assert len(lines) <= 24
    data = str(settings.data_dir)
    assert all(len(line) <= WIDTH for line in lines if data not in line)
    text = re.sub(r"\s+", " ", " ".join(lines))
    assert f"{W[1]} 127.0.0.1:" in text
    assert text.count("DOES NOT ANSWER: the readmission waits for it") == 1
    for words in ("a blank disk", "nothing is deleted", "every other witness has recorded", "witness restore"):
        assert words in text


@pytest.mark.parametrize("typed", ["", "yes", "w9", W[0].upper()])
def test_another_name_changes_nothing(tmp_path: Path, typed: str) -> None:
    with pytest.raises(BadValue, match=r"nothing was changed; check on which machine you are"):
        require_name(settings_of(tmp_path), typed, "confirmation")


# -- as a command --------------------------------------------------------------------------------------------


def config(tmp_path: Path) -> Path:
    path = tmp_path / "w1.yaml"
    fields = {
        "cluster": "ab" * 16,
        "witness": "w1",
        "data_dir": "data",
        "listen": "127.0.0.1:9",
        "peers": [{"id": f"w{number}", "address": f"127.0.0.1:{number}"} for number in (1, 2, 3)],
        "tls": {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"},
    }
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def ended(monkeypatch: pytest.MonkeyPatch, *argv: str, verb: str = "readmit") -> object:
    monkeypatch.setattr(sys, "argv", ["witness", verb, *argv])
    with pytest.raises(SystemExit) as caught:
        command.main()
    return caught.value.code


@pytest.mark.parametrize(("typed", "code", "made"), [("w1\n", 0, True), ("w2\n", 78, False), ("", 1, False)])
def test_it_asks_for_the_name(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
    made: bool,
) -> None:
    path = config(tmp_path)
    with (tmp_path / "typed").open("w+", encoding="utf-8") as stream:
        stream.write(typed)
        stream.seek(0)
        monkeypatch.setattr(sys, "stdin", stream)
        assert (ended(monkeypatch, "-c", str(path)) or 0) == code
    told = "nothing was changed; without a terminal use --yes ID" in capsys.readouterr().err
    assert told is (code == 1)
    assert (tmp_path / "data" / STORE_NAME).exists() is made


@pytest.mark.parametrize(("yes", "code"), [("w1", 0), ("w2", 64)])
def test_scripts_say_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, yes: str, code: int) -> None:
    path = config(tmp_path)
    assert (ended(monkeypatch, "-c", str(path), "--yes", yes) or 0) == code
    assert (tmp_path / "data" / STORE_NAME).exists() is (code == 0)


def test_its_help_tells_the_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, "--help") in {0, None}
    text = " ".join(capsys.readouterr().out.split())
    assert "64 wrong usage or --yes names another witness" in text
    assert "78 refused" in text


@pytest.mark.parametrize(
    ("verb", "says"),
    [("backup", "64 wrong usage, or a path"), ("restore", "1 given up at the question, 64 wrong usage")],
)
def test_the_other_commands_of_bad_nights_tell_their_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, says: str
) -> None:
    assert ended(monkeypatch, "--help", verb=verb) in {0, None}
    text = " ".join(capsys.readouterr().out.split())
    assert says in text
    assert "78 refused" in text


@pytest.mark.parametrize(
    ("verb", "argv", "says"),
    [
        ("backup", ["--out", "f"], "--config: '' is refused"),
        ("backup", ["-c", "f"], "--out: '' is refused"),
        ("restore", ["-c", "f"], "--from: '' is refused"),
    ],
)
def test_an_option_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, argv: list[str], says: str
) -> None:
    assert ended(monkeypatch, *argv, verb=verb) == 64
    assert says in capsys.readouterr().err


def test_a_user_without_the_right_is_sent_to_the_right_user_and_not_to_a_readmission(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path)

    def forbidden(*_given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "data" / "lock"))

    monkeypatch.setattr("witness.readmit.readmit_witness", forbidden)
    assert ended(monkeypatch, "-c", str(path)) == 78
    said = capsys.readouterr().err
    assert said.endswith("run the command as the user that the witness runs as, or as root\n")
    assert str(tmp_path / "data" / "lock") in said
    words = str(refusal(as_disk(tmp_path), PermissionError(errno.EACCES, "Permission denied")))
    assert "this user has no right to it" in words
    assert "readmit" not in words


@pytest.mark.parametrize("first_page", [True, False])
def test_content_that_the_database_cannot_read_is_damage_and_no_disk_to_mend(tmp_path: Path, first_page: bool) -> None:
    """As dd over the file does it: *mend the disk and start again* would send the operator the wrong way."""
    settings = settings_of(tmp_path)
    readmitted(settings)
    path = settings.data_dir / STORE_NAME
    data = path.read_bytes()
    rot = b"\xa5" * 4096
    path.write_bytes(rot + data[4096:] if first_page else data[:4096] + rot * (len(data) // 4096 - 1))
    with pytest.raises(StoreRefused, match=r"is damaged.*witness readmit") as caught:
        opened(settings)
    assert "mend that" not in str(caught.value)
