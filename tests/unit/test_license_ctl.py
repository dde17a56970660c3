"""`witnessctl license`: what it shows, what it proves, how it ends; and that nothing of a key is ever in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from core_rig import A, B, G
from escrow_rig import KEY, EscrowRig, licensed, sealed, version

from proto.edge.config_types import Address
from proto.events import Event
from proto.license import NOT_CONFIGURED, NOT_NAMED, EscrowPolicy, LicenseSpec
from witness.activity.evidence import event_fields
from witness.core.license_view import licenses_view
from witness.ctl import __main__ as ctl
from witness.ctl import licenses
from witness.ctl.client import Answer, ClusterClient
from witness.ctl.errors import Misused, Refused, Unreachable
from witness.ctl.group_file import load_groups
from witness.group_fields import from_fields, to_fields

SECRET = b"the-key-in-its-box"


class Witnesses(ClusterClient):
    """Three witnesses over one machine's state, without a network; each with a ledger of its own."""

    def __init__(self, rig: EscrowRig) -> None:
        self.witnesses = tuple(Address("192.0.2.1", port) for port in (1, 2, 3))
        self._preferred = self._kept = None
        self.rig = rig
        self.ledgers: list[list[Event] | None] = [list(rig.machine.state.ledger.recent) for _ in range(3)]
        self.asked: list[tuple[str, str, Any]] = []

    def ask_one(self, witness: Address, path: str, wait_s: float = 0) -> Answer:
        events = self.ledgers[witness.port - 1]
        if events is None:
            raise Unreachable("no answer in time")
        body: dict[str, Any] = {
            "witness": f"w{witness.port}",
            "cluster": "c" * 32,
            "has_quorum": True,
            "applied_index": len(events),
        }
        if path.startswith("/v1/events"):
            query = dict(pair.split("=") for pair in path.split("?")[1].split("&"))
            after, limit = int(query["after"]), int(query["limit"])
            page = [event for event in events if event.seq > after][:limit]
            body = {"head": events[-1].seq, "events": [event_fields(event) for event in page]}
        return Answer(200, body, witness)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        self.asked.append((method, path, body))
        witness = self._in_turn()[0]
        if method == "POST":
            return Answer(200, {"changed": True}, witness)
        if path.startswith(("/v1/events", "/v1/status")):
            return self.ask_one(witness, path)
        group = self.rig.group
        view = {"group": G, "holder": None if group.lease is None else group.lease.site}
        one = {**view, "licenses": licenses_view(group)}
        if path == f"/v1/groups/{G}":
            return Answer(200, one, witness)
        known = path.startswith("/v1/groups?")
        return Answer(200 if known else 404, {"groups": [one], "next": None, "reason": "unknown-group"}, witness)


@pytest.fixture
def client() -> Witnesses:
    """A sealed version 3 and is active; B holds version 1 and has a problem."""
    rig = EscrowRig()
    rig.put(sealed(rig.epoch, 1))
    rig.put(sealed(rig.epoch, 3, SECRET))
    rig.held = {A: version(rig.epoch, 3), B: version(rig.epoch, 1)}
    rig.say(A, licensed(rig.held[A], active=True), epoch=rig.epoch)
    rig.say(B, licensed(rig.held[B], problem="does-not-open"))
    return Witnesses(rig)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


# -- status ---------------------------------------------------------------------------------------------------


def test_status_shows_versions_ages_and_what_stands_against_each_site(client, capsys, monkeypatch):
    monkeypatch.setattr(licenses.console, "width", 200)
    licenses.show_status(client, G, as_json=False)
    shown = capsys.readouterr().out
    epoch = client.rig.epoch
    for words in (
        "erp: active at dc-a",
        f"fingerprint: escrow required, newest {epoch}.3, stored {epoch}.3 of dc-a, ",
        "ago, sealed with key 0a1b2c3d",
        "does-not-open",
        f"dc-b: fingerprint: it holds {epoch}.1, the newest is {epoch}.3 (stored here, dc-a)",
        f"witnessctl license waive erp fingerprint --newest {epoch}.3 --reason ...",
    ):
        assert words in shown
    assert "the-key" not in shown
    assert SECRET.hex() not in shown


def test_status_for_programs_has_everything_but_the_box(client, capsys):
    licenses.show_status(client, None, as_json=True)
    ((one,),) = (group["licenses"] for group in told(capsys)["groups"])
    epoch = client.rig.epoch
    assert {
        key: one[key] for key in ("license", "escrow", "stored", "newest", "sealed_by", "sealing_key", "put_ms")
    } == {
        "license": KEY,
        "escrow": "required",
        "stored": f"{epoch}.3",
        "newest": f"{epoch}.3",
        "sealed_by": A,
        "sealing_key": "0a1b2c3d",
        "put_ms": 1_000,
    }
    holder, other = one["sites"]
    assert (holder["current"], holder["blocked"], holder["activated"]) == (True, "", True)
    assert (other["held"], other["current"], other["problem"]) == (f"{epoch}.1", False, "does-not-open")
    assert set(one) == {
        "license", "escrow", "stored", "newest", "sealed_by", "sealing_key", "put_ms", "waived", "unsure", "sites"
    }  # fmt: skip


def test_status_shows_a_waiver_and_a_license_that_is_active_twice(client, capsys):
    rig = client.rig
    assert rig.waive(version(rig.epoch, 3)).ok
    rig.say(B, licensed(active=True))
    licenses.show_status(client, G, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"an operator gave versions up to {rig.epoch}.3 up" in shown
    assert "dc-b: both active: it is activated there without a right to it" in shown


def test_without_licenses_it_says_how_to_configure_one(capsys):
    rig = EscrowRig()
    rig.group.config = from_fields({**to_fields(rig.group.config), "licenses": []})
    for site in (A, B):
        rig.beat(site, said=rig.said(site, licenses=()))
    licenses.show_status(Witnesses(rig), None, as_json=False)
    assert "no licenses are configured; add `licenses:` to the group" in capsys.readouterr().out


# -- the proof ------------------------------------------------------------------------------------------------


def test_verify_proves_the_ledger_and_names_who_tells_the_same_hash(client, capsys):
    client.ledgers[1] = None
    client.ledgers[2] = client.ledgers[2][:-1]
    licenses.verify(client, G, as_json=True)
    found = told(capsys)
    assert (found["ok"], found["complete"], found["findings"]) == (True, True, [])
    assert found["anchors"] == {"w1": found["head_chain"], "192.0.2.1:2": "", "w3": ""}
    licenses.verify(client, G, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("as w1 tell it", "1 intervals, no two overlap", "the order rests on no clock"):
        assert words in shown


def test_verify_reads_a_ledger_of_several_pages(client, monkeypatch, capsys):
    monkeypatch.setattr(licenses, "PAGE", 3)
    licenses.verify(client, G, as_json=True)
    assert told(capsys)["head_entry"] == client.rig.machine.state.ledger.head_seq
    monkeypatch.setattr(licenses, "EVENTS_READ_MAX", 5)
    with pytest.raises(Refused, match="more than 5 entries"):
        licenses.verify(client, G, as_json=True)


def test_a_witness_that_tells_another_story_is_named(client, capsys):
    other = EscrowRig()
    other.say(B, licensed(problem="another"))
    while other.machine.state.ledger.head_seq < client.rig.machine.state.ledger.head_seq:
        other.say(B, licensed(problem=f"p{other.index}"))
    client.ledgers[2] = list(other.machine.state.ledger.recent)
    with pytest.raises(Refused, match=r"not proven: entry \d+: w3 tells another hash of entry"):
        licenses.verify(client, G, as_json=True)
    assert not told(capsys)["ok"]


def test_verify_of_a_name_that_nobody_knows_is_refused(client):
    with pytest.raises(Refused, match="unknown-group"):
        licenses.verify(client, "mail", as_json=True)


def test_exported_evidence_verifies_and_a_tampered_one_is_refused_naming_the_entry(client, tmp_path, capsys):
    out = tmp_path / "evidence.json"
    licenses.export(client, G, out, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "entries; note this hash elsewhere:" in shown
    text = out.read_text(encoding="utf-8")
    assert SECRET.decode() not in text
    assert SECRET.hex() not in text
    licenses.verify_file(out, G, as_json=True)
    assert told(capsys)["ok"]
    read = json.loads(text)
    claimed = next(one for one in read["events"] if one["kind"] == "claimed")
    claimed["site"] = B
    out.write_text(json.dumps(read), encoding="utf-8")
    with pytest.raises(Refused, match=rf"not proven: entry {claimed['seq']}: entry {claimed['seq']} does not follow"):
        licenses.verify_file(out, G, as_json=True)


def test_evidence_is_never_written_over_and_a_place_that_takes_none_is_named(client, tmp_path):
    out = tmp_path / "evidence.json"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(Misused, match="is there already"):
        licenses.export(client, G, out, as_json=True)
    assert out.read_text(encoding="utf-8") == "mine"
    with pytest.raises(Misused, match="cannot be written"):
        licenses.export(client, G, tmp_path / "no" / "evidence.json", as_json=True)


# -- arguments and ends ---------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["witnessctl", "license", *argv])
    return ctl.run()


def exported(client: Witnesses, tmp_path: Path) -> Path:
    out = tmp_path / "evidence.json"
    licenses.export(client, G, out, as_json=True)
    return out


def test_ends_of_verify(client, tmp_path, monkeypatch, capsys):
    out = exported(client, tmp_path)
    assert run(monkeypatch, "verify", G, "--file", str(out)) == 0
    assert run(monkeypatch, "verify", "mail", "--file", str(out)) == 78
    assert "the file is of erp" in capsys.readouterr().err
    out.write_text(out.read_text(encoding="utf-8").replace("key 0a1b2c3d", "key 0a1b2c3e"), encoding="utf-8")
    assert run(monkeypatch, "verify", G, "--file", str(out), "--json") == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["findings"]
    for content in ("{", "[]", "[" * 100_000):
        out.write_text(content, encoding="utf-8")
        assert run(monkeypatch, "verify", G, "--file", str(out)) == 78
    assert run(monkeypatch, "verify", G, "--file", str(tmp_path / "none")) == 78
    monkeypatch.setattr(licenses, "FILE_BYTES_MAX", 10)
    assert run(monkeypatch, "verify", G, "--file", str(out)) == 78


def test_a_waiver_is_asked_for_with_its_version_and_a_reason(client, monkeypatch, capsys):
    licenses.waive(client, G, KEY, "2.3", "dc-a burnt down", as_json=False)
    body = {"license": KEY, "newest": "2.3", "reason": "dc-a burnt down"}
    assert client.asked == [("POST", "/v1/groups/erp/waive", body)]
    assert "a site without it may be activated once" in capsys.readouterr().out
    assert run(monkeypatch, "waive", G, KEY, "--newest", "2.3", "--reason", " ") == 64


# -- groups.yaml ----------------------------------------------------------------------------------------------


def test_a_group_file_names_its_licenses(tmp_path):
    path = tmp_path / "groups.yaml"
    base = "groups:\n  - group: shop\n    sites: [dc-a, dc-b]\n    licenses:\n"
    path.write_text(base + "      - {name: fingerprint}\n      - {name: maps, escrow: none}\n", encoding="utf-8")
    (config,) = load_groups(path)
    assert config.licenses == (LicenseSpec(KEY), LicenseSpec("maps", EscrowPolicy.NONE))
    assert from_fields(json.loads(json.dumps(to_fields(config)))) == config
    for bad, words in (
        ("      - {name: Key}\n", "1 to 63 of"),
        ("      - {escrow: none}\n", "name"),
        ("      - {name: a, escrow: always}\n", "required"),
        ("      - {name: a, lock_delay: 3s}\n", "unknown key"),
        ("      - {name: a}\n      - {name: a}\n", "licenses must differ; remove the repetition"),
        ("".join(f"      - {{name: l{number}}}\n" for number in range(5)), "at most 4"),
    ):
        path.write_text(base + bad, encoding="utf-8")
        with pytest.raises(Exception, match=words):
            load_groups(path)


def test_a_license_that_only_one_of_agent_and_group_names_is_a_problem_of_the_site(client, capsys):
    client.rig.beat(B, said=client.rig.said(B, replace(licensed(), name="maps"), finished_epoch=0))
    named, unnamed = licenses_view(client.rig.group)
    assert [site["problem"] for site in named["sites"]] == ["", NOT_CONFIGURED]
    assert (unnamed["license"], unnamed["escrow"]) == ("maps", NOT_NAMED)
    assert [site["problem"] for site in unnamed["sites"]] == ["", NOT_NAMED]
    licenses.show_status(client, G, as_json=False)
    out = capsys.readouterr().out
    assert "maps: the group does not name it, so nothing is kept of it: witnessctl apply -f FILE" in out
    assert "not-configured" in out
