"""The doctor on a member's host: the same checks, and its lead in the place of the witnesses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agents.config_any import load_any_config
from agents.doctor import command
from agents.doctor.check_files import check_files
from agents.doctor.check_live import check_live
from agents.doctor.check_setup import check_setup
from agents.doctor.finding import Severity
from agents.doctor.host import Host, site_of
from agents.settings import MemberProcessSettings, SiteSettings
from proto.edge.config_file import ConfigRefused

MEMBER = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
member: db1
lead: "127.0.0.1:%d"
tls: {ca: ca.pem, cert: a.pem, key: a.key}
state_dir: state
runtime_dir: run
groups: [{group: shop}]
"""


def member_file(path: Path, port: int = 1) -> Path:
    file = path / "member.yaml"
    file.write_text(MEMBER % port)
    return file


def host(path: Path, port: int = 1, state: str = "") -> Host:
    found = load_any_config(member_file(path, port))
    assert isinstance(found, MemberProcessSettings)
    status = {"groups": [{"group": "shop", "state": state}]} if state else None
    return Host(site_of(found), path / "root", {}, status, found)


def test_a_members_file_is_known_by_its_member(tmp_path: Path) -> None:
    assert isinstance(load_any_config(member_file(tmp_path)), MemberProcessSettings)
    wrong = tmp_path / "agent.yaml"
    wrong.write_text("site: dc-a\n")
    with pytest.raises(ConfigRefused, match="witnesses"):
        load_any_config(wrong)


def test_the_command_takes_it_and_says_nothing_of_witnesses_and_site_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_trial", dict)
    found = command.examine(member_file(tmp_path), tmp_path / "root")
    subjects = [one.subject for one in found]
    assert "lead (127.0.0.1:1)" in subjects
    assert not any("witness" in one.remedy and "pki" not in one.remedy for one in found if one.severity != "note")
    assert "site-link" not in subjects


def test_its_certificate_is_a_members(tmp_path: Path) -> None:
    remedies = [one.remedy for one in check_files(host(tmp_path)) if "a.pem" in one.subject]
    assert remedies == ["issue it with `witness pki issue member` and copy all three files"]


def test_its_setup_is_not_asked_for_probes_that_only_a_lead_has(tmp_path: Path) -> None:
    assert [one.what for one in check_setup(host(tmp_path, state="down"))] == [
        "neither components nor verify_down are configured"
    ]


@pytest.mark.parametrize(("state", "dormant"), [("", True), ("down", True), ("holding", False), ("starting", False)])
def test_a_member_that_holds_is_not_dormant(tmp_path: Path, state: str, dormant: bool) -> None:
    assert host(tmp_path, state=state).dormant("shop") is dormant


async def test_its_lead_is_what_has_to_be_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as lead:
        port = lead.getsockname()[1]
        (reached,) = await check_live(host(tmp_path, port))
    assert (reached.severity, "reached" in reached.what) == (Severity.NOTE, True)
    (lost,) = await check_live(host(tmp_path, port))
    assert lost.severity is Severity.BROKEN
    assert lost.why == "this host holds its part of the lease only while its lead answers"


def test_an_agents_file_is_read_as_ever() -> None:
    found = load_any_config(Path(__file__).parents[2] / "deploy" / "examples" / "agent.yaml")
    assert isinstance(found, SiteSettings)
