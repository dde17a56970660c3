"""What an agent keeps of permits on disk, and how one comes in: file, phrase, signature."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_permit_agent import SITES, G, PermitAgent

from agents.core.permit_record import PermitRecord
from agents.local import break_glass as command
from agents.local.break_glass import PermitRefused, use_permit
from agents.permit_files import PermitFiles
from agents.runtime.break_glass import BreakGlass
from proto.edge.permit_file import sign_permit
from proto.permit import PermitMark, PermitTerms, confirmation
from proto.units import Epoch, GroupId, SiteId, WallMs

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TERMS = PermitTerms(KEY.public_key().public_bytes_raw().hex(), SITES.permits.after_ms)
RECORD = PermitRecord((b"a" * 16, b"b" * 16), PermitMark(Epoch(9), b"b" * 16), WallMs(1_800_000_000_000))


def test_what_was_kept_comes_back(tmp_path: Path):
    files = PermitFiles(tmp_path, [G, GroupId("web")])
    assert files.load() == {G: PermitRecord(), GroupId("web"): PermitRecord()}
    files.store(G, RECORD)
    assert PermitFiles(tmp_path, [G, GroupId("web")]).load()[G] == RECORD
    assert (tmp_path / "erp.permits").stat().st_mode & 0o777 == 0o600


DAMAGE = [b"", b"{}", b"[]", b"\xff", b"x" * 70_000, "swap", "digit", "other"]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: repr(one)[:12])
def test_a_damaged_file_takes_no_permit(tmp_path: Path, damage):
    files = PermitFiles(tmp_path, [G])
    files.store(G, RECORD)
    path = tmp_path / "erp.permits"
    path.write_bytes(damage if isinstance(damage, bytes) else damaged(path, damage))
    record = files.load()[G]
    assert "damaged" in record.damaged
    assert "remove the file" in record.damaged
    assert "damaged" in PermitAgent(record=record).silent().use()


def damaged(path: Path, how: str) -> bytes:
    fields = json.loads(path.read_bytes())
    if how == "swap":
        fields["group"] = "web"
    elif how == "digit":
        fields["sha256"] = fields["sha256"][::-1]
    else:
        fields["version"] = 2
    return json.dumps(fields).encode()


class Glass:
    """A core in place of a running agent, and the files that an operator carries."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig = PermitAgent(sites=SITES.__class__(**{**fields_of(SITES), "permits": TERMS})).silent()
        self.posted: list[dict[str, Any]] = []
        self.said: list[str] = []
        driver = SimpleNamespace(
            agent=self.rig.agent,
            break_glass=lambda group, permit: self.rig.agent.break_glass(group, permit, self.rig.clock.read()),
            end_break_glass=lambda group: self.rig.agent.end_break_glass(group, self.rig.clock.read()),
        )
        self.glass = BreakGlass(cast("Any", driver))
        self.file = tmp_path / "permit"
        self.file.write_text(sign_permit(self.rig.permit(), KEY))
        self.view = {
            "site": "dc-a",
            "groups": [
                {
                    "group": G,
                    "state": "standby",
                    "finished_epoch": 0,
                    "permit": {"others": ["dc-b"], "silent_ms": 70_000, "after_ms": 65_000, "under": None},
                }
            ],
        }
        monkeypatch.setattr(command, "agent_status", lambda _socket: self.view)
        monkeypatch.setattr(command, "_post", lambda _socket, group, body: self.posted.append({**body, "group": group}))

    def phrase(self) -> str:
        return confirmation(G, SiteId("dc-a"), (SiteId("dc-b"),))

    def use(self, text: str | None = None, phrase: str | None = None) -> str:
        chosen = self.file.read_text() if text is None else text
        return asyncio.run(self.glass.use(G, chosen, self.phrase() if phrase is None else phrase))

    def ask(self, answer: str | None) -> None:
        use_permit(Path("socket"), G, self.file, answer, self.said.append, lambda question: question)


def fields_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


@pytest.fixture
def glass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Glass:
    return Glass(tmp_path, monkeypatch)


def test_the_agent_checks_phrase_and_signature_itself(glass: Glass):
    assert "the phrase is not the one" in glass.use(phrase="yes")
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    assert "not signed with this key" in glass.use(sign_permit(glass.rig.permit(), other))
    assert "permit" in glass.use("no permit at all")
    assert "serves no group" in asyncio.run(glass.glass.use(GroupId("web"), glass.file.read_text(), ""))
    assert glass.use() == ""
    glass.rig.take()
    glass.rig.store()
    assert glass.rig.state.value == "activating"
    assert glass.glass.end(G) == ""


def test_the_command_says_what_it_means_before_it_asks(glass: Glass):
    glass.ask(glass.phrase())
    shown = "\n".join(glass.said)
    for words in ("Nothing checks that dc-b does not run", "NOT stopped", "silent for 70 s; 65 s are needed", "--end"):
        assert words in shown
    assert glass.posted == [{"permit": glass.file.read_text(), "confirm": glass.phrase(), "group": G}]


def test_the_command_says_with_which_license_keys_it_would_start(glass: Glass):
    glass.ask(glass.phrase())
    assert "license" not in "\n".join(glass.said)
    glass.view["groups"][0]["licenses"] = [
        {"license": "fingerprint", "held": "7.12"},
        {"license": "seats", "held": "-"},
    ]
    glass.ask(glass.phrase())
    assert "it starts with what is kept here (fingerprint 7.12, seats -)" in "\n".join(glass.said)


def test_the_command_refuses_before_it_asks_where_there_are_no_permits(glass: Glass):
    glass.view["groups"][0]["permit"] = None
    with pytest.raises(PermitRefused, match="takes no permits"):
        glass.ask(None)
    with pytest.raises(PermitRefused, match="serves no group 'web'"):
        use_permit(Path("socket"), "web", glass.file, None, glass.said.append, lambda question: question)
    assert glass.posted == []


def test_the_command_repeated_under_its_permit_asks_nothing_and_wants_no_other_permit(glass: Glass):
    group = glass.view["groups"][0]
    group["state"], group["permit"]["under"] = "activating", {"permit": "f2334596700096d6", "epoch": 1_048_582}
    with pytest.raises(PermitRefused, match=f"{G} is activating here under permit f23345967000, epoch 1048582"):
        glass.ask(glass.phrase())
    assert (glass.posted, glass.said) == ([], [])
