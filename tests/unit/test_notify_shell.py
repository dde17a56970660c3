"""The outlet, the secrets' files, monitors and the signature: what surrounds the means."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
import logging
import sys
import threading
from dataclasses import replace

import pytest
from core_rig import CONSTANTS, A, B, G, Rig, report
from notify_rig import WAY

from proto.clock import ManualClock, SystemClock
from proto.groups import Mode
from proto.health import SiteState
from proto.units import NS_PER_S, ClusterId, GroupId, InstantNs, WitnessId
from witness.core.notify.settings import Monitor, Way
from witness.core.notify.wellness import unwell
from witness.core.sight import GroupSight
from witness.notify import apprise_body
from witness.notify.apprise_body import AppriseDelivery, heard_here, scrubbed
from witness.notify.letter import Sender, of_test
from witness.notify.memory import MemoryDelivery
from witness.notify.monitors import Monitors
from witness.notify.outlet import WorkerOutlet
from witness.notify.port import TOLD, Report, Unusable, read_address, read_secret
from witness.notify.webhook import WebhookDelivery, signed_headers, signing_key
from witness.notify.worker import Worker

SENDER = Sender(ClusterId("c" * 32), WitnessId("w1"))
LETTER = of_test(SENDER, "ops", "k" * 32, "ann")


# -- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_is_read_without_its_line_end(tmp_path):
    path = tmp_path / "secret"
    path.write_text("  swordfish\n")
    path.chmod(0o640)
    assert read_secret(str(path), "secret_file") == b"swordfish"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("x", 0o644, "chmod o-rwx"), ("\n", 0o600, "is empty"), ("x" * 9_000, 0o600, "more than")],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_field(tmp_path, content, mode, words):
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(Unusable, match=words) as refused:
        read_secret(str(path), "secret_file")
    assert "secret_file" in str(refused.value)
    assert "xxx" not in str(refused.value)


def test_a_missing_file_is_refused_by_its_field(tmp_path):
    with pytest.raises(Unusable, match="url_file cannot be read"):
        read_secret(str(tmp_path / "none"), "url_file")


@pytest.mark.parametrize(
    ("lines", "words"), [("", "is empty"), ("# only words", "0 addresses"), ("a\nb", "2 addresses")]
)
def test_an_address_file_holds_one_address(tmp_path, lines, words):
    path = tmp_path / "url"
    path.write_text(lines)
    path.chmod(0o600)
    with pytest.raises(Unusable, match=words):
        read_address(replace(WAY, url="", url_file=str(path)))
    path.write_text("# mail\nmailto://x\n")
    assert read_address(replace(WAY, url="", url_file=str(path))) == "mailto://x"


async def test_a_secret_that_is_missing_is_a_report_and_may_be_mended(tmp_path):
    way = Way("webhook", url="http://127.0.0.1:1/", secret_file=str(tmp_path / "none"))
    said = await WebhookDelivery(lambda: 1).deliver(way, LETTER.to_json())
    assert (said.ok, said.again) == (False, True)
    assert "secret_file cannot be read" in said.text


# -- the signature --------------------------------------------------------------------------------------------


def test_what_is_signed_is_id_time_and_body():
    secret = b"whsec_" + base64.b64encode(b"0123456789abcdef")
    headers = signed_headers("id-1", 1_800_000_000, b'{"a":1}', secret)
    mac = hmac.new(b"0123456789abcdef", b'id-1.1800000000.{"a":1}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "id-1",
        "webhook-timestamp": "1800000000",
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


def test_a_secret_is_any_bytes_or_base64_behind_a_prefix():
    assert signing_key(b"swordfish") == b"swordfish"
    with pytest.raises(Unusable, match="not base64"):
        signing_key(b"whsec_???")


# -- apprise --------------------------------------------------------------------------------------------------


async def test_without_apprise_its_targets_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "apprise", None)
    path = tmp_path / "url"
    path.write_text("mailto://x")
    path.chmod(0o600)
    said = await AppriseDelivery(SystemClock()).deliver(Way("apprise", url_file=str(path)), LETTER.to_json())
    assert (said.ok, said.text) == (False, apprise_body.MISSING)


def test_no_part_of_an_address_is_in_a_detail():
    address = "slack://TOKENA/TOKENB/TOKENC/?footer=no"
    text = scrubbed("could not send TOKENB to slack://TOKENA/TOKENB: TOKENC refused", address)
    assert "TOKEN" not in text


# -- the outlet -----------------------------------------------------------------------------------------------


def script(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


async def test_a_process_that_dies_is_started_anew_after_a_pause():
    clock = ManualClock()
    outlet = WorkerOutlet(clock, script("import sys; sys.stdin.readline()"))
    first = await outlet.send(WAY, LETTER)
    assert (first.ok, first.again) == (False, True)
    second = await outlet.send(WAY, LETTER)
    assert second.text == "the process that delivers ended; it is started anew"
    clock.advance(2 * NS_PER_S)
    third = await outlet.send(WAY, LETTER)
    assert third.text == "the process that delivers ended"
    await outlet.close()


async def test_a_process_that_is_slow_goes_on_and_one_that_says_nothing_is_ended(monkeypatch):
    monkeypatch.setattr("witness.notify.outlet.SLACK_S", 0.1)
    clock = ManualClock()
    outlet = WorkerOutlet(clock, script("import time; time.sleep(600)"))
    said = await outlet.send(replace(WAY, timeout_ms=100), LETTER)
    assert (said.ok, said.again, said.text) == (False, True, "the process that delivers did not answer in time")
    process = outlet._process
    assert process.returncode is None
    clock.advance(181 * NS_PER_S)
    await outlet.send(replace(WAY, timeout_ms=100), LETTER)
    async with asyncio.timeout(20):
        assert await process.wait() != 0
    await outlet.close()


async def test_what_its_witness_gave_up_is_not_sent_any_more(capsys):
    body = MemoryDelivery()
    clock = ManualClock()
    order = {"id": 1, "until_ns": clock.now(), "way": dataclasses.asdict(WAY), "letter": LETTER.to_json()}
    await Worker({WAY.means: body}, clock)._one(order)
    assert body.letters == []
    await Worker({WAY.means: body}, clock)._one({**order, "until_ns": clock.now() + 1})
    assert len(body.letters) == 1
    assert [json.loads(line)["ok"] for line in capsys.readouterr().out.splitlines()] == [False, True]


async def test_what_is_under_way_is_bounded(monkeypatch):
    monkeypatch.setattr("witness.notify.outlet.PENDING_MAX", 2)
    outlet = WorkerOutlet(SystemClock(), script("import sys; [None for line in sys.stdin]"))
    waiting = [asyncio.create_task(outlet.send(WAY, LETTER)) for _ in range(2)]
    async with asyncio.timeout(20):
        while len(outlet._pending) < 2:  # noqa: ASYNC110 - the process starts
            await asyncio.sleep(0.01)
    assert (await outlet.send(WAY, LETTER)).text == "too many deliveries are under way"
    await outlet.close()
    assert [(await one).ok for one in waiting] == [False, False]


# -- monitors -------------------------------------------------------------------------------------------------


class Groups:
    def __init__(self) -> None:
        self.trouble: dict[str, str] = {}
        self.cluster = ""

    def names(self):
        return [GroupId(f"g{number:02}") for number in range(30)]

    def unwell(self, group, *, standby):
        return self.trouble.get(group, "")

    def cluster_unwell(self):
        return self.cluster


class Sends:
    def __init__(self) -> None:
        self.sent = []
        self.answer = TOLD

    async def send(self, way, letter):
        self.sent.append(letter)
        return self.answer

    async def prepare(self):
        return None

    async def close(self):
        return None


async def test_pings_go_out_only_while_all_is_well():
    groups, sends = Groups(), Sends()
    monitors = Monitors((Monitor("kuma", WAY, every_ms=60_000),), SENDER, sends, groups)
    now = NS_PER_S
    pinged = []
    for trouble, cluster in (("", ""), ("g07: its lease is vacant", ""), ("", "no connection with w2"), ("", "")):
        groups.trouble = {"g07": trouble}
        groups.cluster = cluster
        (monitor,) = monitors.due(InstantNs(now))
        assert monitors.due(InstantNs(now + NS_PER_S)) == []
        before = len(sends.sent)
        await monitors.ping(monitor, InstantNs(now))
        pinged.append(len(sends.sent) > before)
        (seen,) = monitors.view(InstantNs(now))
        assert seen["silent_for"] == (trouble or cluster or None)
        now += 60 * NS_PER_S
    assert pinged == [True, False, False, True]


async def test_a_monitor_looks_at_its_own_groups_and_says_when_it_is_out_of_reach():
    groups, sends = Groups(), Sends()
    groups.trouble = {"g07": "down"}
    monitors = Monitors((Monitor("kuma", WAY, groups=("g1*",)),), SENDER, sends, groups)
    sends.answer = Report(ok=False, again=True, text="HTTP status 503")
    (monitor,) = monitors.due(InstantNs(1))
    await monitors.ping(monitor, InstantNs(1))
    (seen,) = monitors.view(InstantNs(2))
    assert (seen["silent_for"], seen["pinged_ms_ago"]) == ("HTTP status 503", None)
    assert len(sends.sent[0].fields["groups"]) == 10


def active(rig: Rig) -> GroupSight:
    """A is active and well, B stands by; both were just heard."""
    epoch = rig.hold(A)
    claim = rig.lease.claim
    rig.beat(A, epoch=epoch, claim=claim, said=report(state=SiteState.ACTIVE, epoch_bound=epoch))
    sight = GroupSight(started=InstantNs(0))
    sight.heard = {A: InstantNs(NS_PER_S), B: InstantNs(NS_PER_S)}
    return sight


def test_a_group_is_as_it_should_be_or_says_why_not():
    rig = Rig()
    now = InstantNs(NS_PER_S)
    assert "its lease is vacant" in unwell(rig.group, GroupSight(InstantNs(0)), now, standby=True)
    sight = active(rig)
    assert unwell(rig.group, sight, now, standby=True) == ""
    late = InstantNs(now + 2 * CONSTANTS.ttl_ms * 1_000_000)
    assert "holds the lease and is not heard" in unwell(rig.group, sight, late, standby=True)
    rig.group.sites[B].maintenance = True
    assert "no site could take over" in unwell(rig.group, sight, now, standby=True)
    assert unwell(rig.group, sight, now, standby=False) == ""
    rig.group.sites[A].report = replace(rig.group.sites[A].report, healthy=False)
    assert "dc-a is unhealthy" in unwell(rig.group, sight, now, standby=False)


def test_a_group_in_observe_is_well_while_its_sites_are_heard():
    rig = Rig()
    rig.group.mode = Mode.OBSERVE
    sight = GroupSight(InstantNs(0), heard={A: InstantNs(NS_PER_S)})
    assert unwell(rig.group, sight, InstantNs(NS_PER_S), standby=True) == f"{G}: {B} not heard"
    sight.heard[B] = InstantNs(NS_PER_S)
    assert unwell(rig.group, sight, InstantNs(NS_PER_S), standby=True) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_delivery_hears_no_warning_of_one_that_runs_beside_it():
    library = logging.getLogger("a-library")
    with heard_here(library) as heard:
        library.warning("here")
        beside = threading.Thread(target=lambda: library.warning("slack://THE-SECRET-TOKEN"))
        beside.start()
        beside.join()
        library.info("not worth a word")
    library.warning("afterwards")
    assert heard == ["here"]


@pytest.mark.filterwarnings("ignore:.*imghdr:DeprecationWarning")  # loaded by apprise's mail plug-in
async def test_what_apprise_says_of_an_address_that_it_cannot_load_reaches_no_log(tmp_path, caplog):
    pytest.importorskip("apprise")
    path = tmp_path / "chat.url"
    path.write_text("slack://THE-SECRET-TOKEN")
    path.chmod(0o600)
    with caplog.at_level(logging.DEBUG):
        said = await AppriseDelivery(SystemClock()).deliver(Way("apprise", url_file=str(path)), LETTER.to_json())
    assert not said.ok
    assert "THE-SECRET-TOKEN" not in caplog.text + said.text + said.detail
