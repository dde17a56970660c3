"""`licenses` in an agent's file: what it becomes, what is refused with which remedy; commands and the doctor on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from site_license_rig import G, L, version
from typer.testing import CliRunner

from agents.cli import app
from agents.config import load_agent_config, parse_agent_config
from agents.doctor.check_license import check_license
from agents.doctor.finding import Severity
from agents.doctor.host import Host
from agents.license.keeper import LicenseKeeper
from agents.license.key_file import load_ring
from agents.license.spec import PlaceKind, WhenUnknown
from agents.settings import core_settings, from_json, to_json
from proto.edge.config_file import ConfigRefused

RUN = CliRunner()
FILES = """
      - name: fingerprint
        key_file: sealing.key
        source: {kind: file, path: place/key}
        sink: {kind: file, path: place/key}
        pattern: "KEY-[A-Z0-9]+"
        probe: {command: [/bin/false]}
        deactivate: [/bin/true]
"""
SQL = """
      - name: fingerprint
        key_file: /etc/thirdsite/sealing.key
        source:
          kind: sql
          query: "SELECT value FROM google.variables WHERE var = 'fingerprint'"
          socket: /run/mysqld/mysqld.sock
          user: thirdsite
          password_file: /etc/thirdsite/mysql.password
        sink: {kind: sql, statement: "UPDATE google.variables SET value = %s WHERE var = 'fingerprint'"}
        restore_after: promote
        unknown: keep
        watch: 2s
        lock_delay: 30s
        step_timeout: 20s
"""


def text(licenses: str) -> str:
    return f"""
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {{ca: ca.pem, cert: a.pem, key: a.key}}
state_dir: state
runtime_dir: run
witnesses: [{{id: w1, address: "127.0.0.1:1"}}]
groups:
  - group: shop
    activation: {{steps: [{{name: promote, command: [/bin/true]}}, {{name: start, command: [/bin/true]}}]}}
    licenses:{licenses}"""


def settings_of(licenses: str):
    return parse_agent_config(text(licenses), base=Path("/etc/thirdsite"))


def refused(licenses: str, old: str = "", new: str = "") -> str:
    assert not old or licenses.count(old) == 1
    with pytest.raises(ConfigRefused) as caught:
        settings_of(licenses.replace(old, new) if old else licenses)
    return str(caught.value)


def test_a_license_in_a_database_becomes_steps_and_settings_that_travel():
    settings = settings_of(SQL)
    (group,) = settings.groups
    (one,) = group.licenses
    assert [step.name for step in group.activation.steps] == [
        "license-fingerprint-check",
        "promote",
        "license-fingerprint",
        "start",
    ]
    assert group.activation.timeout_ms == 60_000 + 2 * 20_000
    assert (one.source.kind, one.source.socket, one.sink.socket) == (PlaceKind.SQL, *2 * ("/run/mysqld/mysqld.sock",))
    assert one.sink.user == "thirdsite"
    assert (one.watch_ms, one.lock_delay_ms, one.unknown) == (2_000, 30_000, WhenUnknown.KEEP)
    assert from_json(to_json(settings)) == settings
    (core,) = core_settings(settings, store_id=b"s" * 16).groups[0].licenses
    assert (core.name, core.required, core.lock_delay_ms) == ("fingerprint", True, 30_000)


def test_paths_stand_beside_the_file():
    (one,) = settings_of(FILES).groups[0].licenses
    assert one.key_file == Path("/etc/thirdsite/sealing.key")
    assert one.source.path == Path("/etc/thirdsite/place/key")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("        key_file: sealing.key\n", "", "needs key_file"),
        ("        sink: {kind: file, path: place/key}\n", "", "needs sink"),
        ("path: place/key}\n        sink", "path: place/key, user: x}\n        sink", "has no user"),
        ("source: {kind: file, path: place/key}", "source: {kind: command}", "needs command"),
        (
            "source: {kind: file, path: place/key}",
            "source: {kind: sql, query: q, user: u}",
            "by an address or by a socket",
        ),
        ('pattern: "KEY-[A-Z0-9]+"', 'pattern: "KEY-["', "no regular expression"),
        ('pattern: "KEY-[A-Z0-9]+"', "min_size: 9\n        max_size: 8", "larger than max_size"),
        ('pattern: "KEY-[A-Z0-9]+"', "restore_after: nothing", "promote, start"),
        ('pattern: "KEY-[A-Z0-9]+"', "activate: [/bin/on]\n        escrow: none", "escrow none has no"),
        ("        deactivate: [/bin/true]\n", "        activate: [/bin/on]\n", "activate needs deactivate"),
        ("name: fingerprint", "name: Finger Print", "license"),
        ("        deactivate: [/bin/true]\n", "        deactivate: [/bin/true]\n        escrowed: yes\n", "escrowed"),
    ],
)
def test_what_contradicts_itself_is_refused_with_what_to_change(old, new, says):
    assert says in refused(FILES, old, new)


@pytest.mark.parametrize(
    "statement", ["UPDATE t SET v = 1", "UPDATE t SET v=%s, w=%s", "UPDATE t SET v=%s WHERE w LIKE 'a%'"]
)
def test_a_statement_has_one_place_for_the_key(statement):
    assert "exactly one %s" in refused(
        SQL, "UPDATE google.variables SET value = %s WHERE var = 'fingerprint'", statement
    )


def test_two_licenses_of_one_name_and_steps_of_that_name_are_refused():
    assert "twice" in refused(FILES + FILES.lstrip("\n"))
    clash = text(FILES).replace("name: start", "name: license-start")
    with pytest.raises(ConfigRefused, match="license-start"):
        parse_agent_config(clash, base=Path("/etc/thirdsite"))


def test_without_the_driver_a_database_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("agents.config_license.driver_problem", lambda: "PyMySQL is not installed")
    assert "PyMySQL" in refused(SQL)
    settings_of(FILES)


def test_a_license_without_escrow_has_commands_alone():
    only = """
      - {name: dongle, escrow: none, activate: [/bin/on], deactivate: [/bin/off], probe: {command: [/bin/is]}}
"""
    (group,) = settings_of(only).groups
    assert [step.name for step in group.activation.steps] == ["license-dongle-activate", "promote", "start"]
    assert [step.name for step in group.deactivation.steps] == ["license-dongle-deactivate"]


# -- commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "place" / "key").write_text("KEY-1\n")
    path = tmp_path / "agent.yaml"
    path.write_text(text(FILES))
    return path


def keeper_of(config: Path) -> LicenseKeeper:
    settings = load_agent_config(config)
    return LicenseKeeper(settings.cluster, G, settings.groups[0].licenses[0], settings.state_dir)


def ran(*words: str, code: int = 0) -> str:
    done = RUN.invoke(app, ["license", *words])
    assert done.exit_code == code, done.output
    assert "KEY-" not in done.output
    return done.output


def test_a_key_is_made_once_tried_and_shown(config):
    key = config.parent / "sealing.key"
    made = ran("new-key", str(key))
    assert load_ring(key).newest.key_id in made
    again = RUN.invoke(app, ["license", "new-key", str(key)])
    assert again.exit_code
    assert "rotate-key" in str(again.exception)
    tried = ran("test", "-c", str(config))
    assert "sealed and opened again" in tried
    assert "an activation now" in tried
    keeper_of(config).seal(b"KEY-1", version(2, 1))
    assert "2.1" in ran("status", "-c", str(config))
    (row,) = json.loads(ran("status", "-c", str(config), "--json"))["licenses"]
    assert (row["held"], row["key_id"], row["problem"]) == ("2.1", load_ring(key).newest.key_id, "")
    for shown in (made, tried):
        assert load_ring(key).newest.secret.hex() not in shown


def test_what_is_not_well_is_said_and_the_exit_code_tells(config):
    assert "NOT" in ran("test", "-c", str(config), code=1)
    ran("new-key", str(config.parent / "sealing.key"))
    (config.parent / "place" / "key").write_text("nothing that is a key\n")
    assert "no key by its size or pattern" in ran("test", "-c", str(config), code=1)


def test_a_rotation_end_to_end(config):
    key = config.parent / "sealing.key"
    ran("new-key", str(key))
    old = load_ring(key).newest.key_id
    keeper = keeper_of(config)
    keeper.seal(b"KEY-1", version(2, 1))
    ran("rotate-key", str(key))
    new = load_ring(key).newest.key_id
    assert [one.key_id for one in load_ring(key).keys] == [new, old]
    assert "nothing" in ran("rotate-key", str(key), "--drop-old", "-c", str(config))
    assert keeper.reseal_due()
    keeper.seal(b"KEY-1", version(2, 2))
    assert old in ran("rotate-key", str(key), "--drop-old", "-c", str(config))
    assert [one.key_id for one in load_ring(key).keys] == [new]
    assert keeper_of(config).kept().opens


def test_an_operator_accepts_the_key_in_place_after_a_question(config):
    ran("new-key", str(config.parent / "sealing.key"))
    given_up = RUN.invoke(app, ["license", "accept", "-c", str(config), G, L, "--confirm", "yes"])
    assert given_up.exit_code
    assert keeper_of(config).accepted_mark() == ""
    ran("accept", "-c", str(config), G, L, "--confirm", L)
    assert keeper_of(config).accepted(b"KEY-1")
    assert not keeper_of(config).accepted(b"KEY-2")


def test_without_a_terminal_the_question_names_what_to_say_instead(config):
    ran("new-key", str(config.parent / "sealing.key"))
    asked = RUN.invoke(app, ["license", "accept", "-c", str(config), G, L], input="")
    assert asked.exit_code == 1
    assert f"no answer: nothing was changed; without a terminal use --confirm {L}" in asked.output
    wrong = RUN.invoke(app, ["license", "accept", "-c", str(config), G, L, "--confirm", "yes"])
    assert f"give --confirm {L}" in str(wrong.exception)
    assert keeper_of(config).accepted_mark() == ""


def test_what_is_not_well_is_said_once(config):
    key = config.parent / "sealing.key"
    ran("new-key", str(key))
    key.chmod(0o644)
    out = ran("test", "-c", str(config), code=1)
    assert out.count("has mode 0644") == 1
    assert "an activation now: it would be refused until the key file can be used" in out
    key.chmod(0o600)
    keeper_of(config).seal(b"KEY-1", version(2, 1))
    key.unlink()
    ran("new-key", str(key))
    out = ran("test", "-c", str(config), code=1)
    (store,) = [line for line in out.splitlines() if "store:" in line]
    assert "sealed with" in store
    assert "it would be refused until that sealing key is in the key file" in out
    assert "does not open here" not in out


def test_a_license_that_is_not_there_is_named(config):
    for words, field in ((["other"], "GROUP"), ([G, "other"], "GROUP LICENSE")):
        done = RUN.invoke(app, ["license", "test", "-c", str(config), *words])
        said = f"{field}: {' '.join(words)!r} is refused: is no license of this file; say one of: {G} {L}"
        assert str(done.exception) == said
        assert done.exception.usage
    config.write_text(text(FILES).split("    licenses:")[0])
    none = RUN.invoke(app, ["license", "test", "-c", str(config)])
    assert str(none.exception).startswith(f"licenses: '{config}' is refused: no group of this file has one")
    assert not none.exception.usage


# -- the doctor -------------------------------------------------------------------------------------------


def judged(config: Path, **status) -> dict[str, str]:
    host = Host(load_agent_config(config), status=status.get("status"))
    return {finding.severity.value: finding.what for finding in check_license(host)}


def test_the_doctor_finds_the_key_file_the_store_and_the_source(config):
    key, place = config.parent / "sealing.key", config.parent / "place"
    assert "new-key" in judged(config)["broken"]
    ran("new-key", str(key))
    assert judged(config) == {}
    key.chmod(0o640)
    assert "0640" in judged(config)["broken"]
    key.chmod(0o600)
    (place / "key").unlink()
    place.rmdir()
    place.write_text("not a directory")
    assert "cannot be read" in judged(config)["warning"]
    active = {"groups": [{"group": G, "state": "active"}]}
    assert "cannot be read" in judged(config, status=active)["broken"]


def test_the_doctor_finds_a_sealed_key_that_does_not_open_and_a_damaged_store(config):
    ran("new-key", str(config.parent / "sealing.key"))
    keeper = keeper_of(config)
    keeper.seal(b"KEY-1", version(2, 1))
    keeper.keep(replace(keeper.kept().newest, version=version(2, 2), key_id="00000000"))
    assert "00000000" in judged(config)["broken"]
    keeper.file.path.write_text("{")
    assert "damaged" in judged(config)["broken"]


def test_the_doctor_asks_for_a_probe(tmp_path, config):
    config.write_text(text(FILES.replace("        probe: {command: [/bin/false]}\n", "")))
    ran("new-key", str(config.parent / "sealing.key"))
    (finding,) = check_license(Host(load_agent_config(config)))
    assert finding.severity is Severity.WARNING
    assert "probe" in finding.what
