"""What `make licenses` draws and judges, its vendor on real connections, and what a run that is ended leaves behind.

A round takes half a minute: a slice of real rounds would cost a test run more than it shows.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

INTEGRATION = Path(__file__).resolve().parents[1] / "integration"
if str(INTEGRATION) not in sys.path:
    sys.path.insert(0, str(INTEGRATION))  # there are no packages in tests/
import licenses_run  # noqa: E402  # after the line above
from aiohttp import ClientSession  # noqa: E402  # as above
from chaosrig import chaos_own  # noqa: E402  # as above
from licenserig.license_blows import BLOWS  # noqa: E402  # as above
from licenserig.license_ledger import TAMPERED, tampered  # noqa: E402  # as above
from licenserig.license_outcome import Outcome  # noqa: E402  # as above
from licenserig.license_plan import ALWAYS, BEHIND, KINDS, LAST, NONE, RENEWALS, Round, make_plan  # noqa: E402  # as above
from licenserig.license_receivers import WAYS, entries_of  # noqa: E402  # as above
from licenserig.license_record import MS, Record, read_record  # noqa: E402  # as above
from licenserig.license_show import by_kind  # noqa: E402  # as above
from licenserig.license_told import Takeover, judge_told, read_told  # noqa: E402  # as above
from licenserig.license_vendor import SessionVendor  # noqa: E402  # as above
from maria_rig import missing_mariadb  # noqa: E402  # as above

from proto.codec import encode_event_body  # noqa: E402  # as above
from proto.events import GENESIS_HASH, Event, EventKind, chain_hash  # noqa: E402  # as above
from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs  # noqa: E402  # as above
from witness.activity.evidence import event_fields, judge, read_event  # noqa: E402  # as above
from witness.demo.processes import below  # noqa: E402  # as above

PROGRAM = Path(licenses_run.__file__)
WAIT_S = 120.0
TTL_MS = 6_000
MISSING = chaos_own.missing() or missing_mariadb()
ROUND = Round(1, "kill", NONE, 0)


# -- the plan -----------------------------------------------------------------------------------------------------


def test_a_seed_is_one_plan_and_a_shorter_run_is_its_beginning() -> None:
    kinds = list(KINDS.values())
    plan = make_plan(kinds, 50, 7, TTL_MS)
    assert plan == make_plan(kinds, 50, 7, TTL_MS)
    assert plan[:9] == make_plan(kinds, 9, 7, TTL_MS)
    assert plan != make_plan(kinds, 50, 8, TTL_MS)
    assert Counter(one.kind for one in plan) == dict.fromkeys(KINDS, 5)
    assert {one.renewal for one in plan} == set(RENEWALS)
    assert {one.renewal for one in plan if one.kind in ("relay-kill", "holds-kill")} == set(ALWAYS)
    assert {one.kind for one in plan if one.renewal == LAST} <= {"switchover", "unfit"}, "who stops in order"
    assert all(0 <= one.wait_ms < TTL_MS / 3 for one in plan)


def test_every_kind_has_its_blow() -> None:
    assert set(BLOWS) == set(KINDS)


# -- the vendor ---------------------------------------------------------------------------------------------------


class Stage:
    """The vendor on loopback, with sites that are played by hand."""

    def __init__(self) -> None:
        self.record_file = io.StringIO()
        self.vendor = SessionVendor("key-1", record=self.record_file)
        self.writers: dict[str, asyncio.StreamWriter] = {}
        self.port = 0

    def record(self) -> Record:
        return read_record(self.record_file.getvalue().splitlines(keepends=True))

    async def opens(self, site: str) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers[site] = writer
        writer.write(json.dumps({"site": site, "service": "api-server", "instance": f"of {site}"}).encode() + b"\n")
        await self.until(lambda: site in self.record().active())

    async def closes(self, site: str) -> None:
        self.writers.pop(site).close()
        await self.until(lambda: site not in self.record().active())

    async def exchanges(self, site: str, key: str) -> int:
        async with ClientSession() as session:
            said = {"site": site, "instance": f"of {site}", "key": key}
            async with session.post(f"{self.vendor.url}/exchange", json=said) as answer:
                return answer.status

    @staticmethod
    async def until(condition: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - what arrives at the vendor has no event here
                await asyncio.sleep(0.005)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    made.vendor.note("begins", key="key-1")
    server = await asyncio.start_server(made.vendor.session, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    await made.vendor.start()
    try:
        yield made
    finally:
        for site in list(made.writers):
            await made.closes(site)
        server.close()
        await made.vendor.stop()


async def test_the_vendor_lets_one_site_after_the_other_in_with_the_newest_key(stage: Stage) -> None:
    await stage.opens("dc-a")
    assert await stage.exchanges("dc-a", "key-1") == 200
    assert await stage.exchanges("dc-a", stage.record().key) == 200
    await stage.closes("dc-a")
    await stage.opens("dc-b")
    assert await stage.exchanges("dc-b", stage.record().key) == 200
    record = stage.record()
    assert [one.site for one in record.starts] == ["dc-a", "dc-b"]
    assert (record.exchanges, len(set(record.keys)), record.violations) == (3, 4, [])
    assert record.double_ms(record.spans[-1].begin_ns) == 0
    assert record.start_after("dc-b", record.starts[0].at_ns) == record.starts[1]
    assert record.start_after("dc-a", record.starts[0].at_ns) is None


async def test_the_vendor_sees_a_second_site_beside_one_that_is_only_silent(stage: Stage) -> None:
    await stage.opens("dc-a")
    assert await stage.exchanges("dc-a", "key-1") == 200
    await stage.opens("dc-b")  # dc-a says nothing and lives
    assert await stage.exchanges("dc-b", stage.record().key) == 403
    await stage.closes("dc-a")
    record = stage.record()
    assert record.violations == ["second instance at dc-b"]
    assert record.double_ms(record.spans[-1].begin_ns + 1) > 0


async def test_the_vendor_refuses_a_key_that_was_lost(stage: Stage) -> None:
    await stage.opens("dc-a")
    assert await stage.exchanges("dc-a", "key-1") == 200
    await stage.closes("dc-a")
    await stage.opens("dc-b")
    assert await stage.exchanges("dc-b", "key-1") == 403
    outcome = Outcome(ROUND)
    outcome.see(stage.record(), 0, 0, 0)
    assert outcome.keys_lost == 1
    assert outcome.bad


# -- the judge ----------------------------------------------------------------------------------------------------


def line(at_ms: int, what: str, **said: Any) -> str:
    return json.dumps({"at_ns": at_ms * MS, "what": what, **said}) + "\n"


def test_a_site_is_active_from_its_first_service_to_its_last() -> None:
    lines = [
        line(10, "open", site="dc-a", instance="1"),
        line(11, "open", site="dc-a", instance="2"),
        line(20, "closed", site="dc-a", instance="1"),
        line(25, "open", site="dc-b", instance="3"),
        line(30, "closed", site="dc-a", instance="2"),
    ]
    record = read_record(lines)
    assert record.active() == ["dc-b"]
    assert record.double_ms(100 * MS) == 5
    assert record.double_ms(100 * MS, since_ns=28 * MS) == 2
    assert read_record(lines[:4]).double_ms(100 * MS) == 75, "both go on"
    assert read_record([*lines[:3], lines[3].rstrip("\n")]).active() == ["dc-a"], "a line that is not whole yet"


def test_an_outcome_says_what_is_wrong_with_it() -> None:
    good = Outcome(ROUND, epoch=3, epoch_after=4, struck_ns=10 * MS, taken_ns=30 * MS, answered_ns=50 * MS)
    assert good.wrong() == []
    assert (good.takeover_ms, good.answer_ms) == (20, 40)
    stayed = Outcome(ROUND, epoch=3, epoch_after=3, struck_ns=0, taken_ns=30 * MS)
    double = Outcome(ROUND, epoch=3, epoch_after=4, taken_ns=1, double_ms=0.4)
    refused = Outcome(ROUND, epoch=3, epoch_after=4, taken_ns=1, violations=["old key from dc-b"])
    for one in (stayed, double, refused, Outcome(ROUND)):
        assert len(one.wrong()) == 1, one
    assert (refused.keys_lost, double.keys_lost) == (1, 0)
    rows = by_kind([good, double, refused])
    assert list(rows) == ["kill"]
    assert rows["kill"]["takeover_ms"]["max"] == 20
    assert (rows["kill"]["rounds"], rows["kill"]["keys_lost"], rows["kill"]["failed"]) == (3, 1, 2)
    assert rows["kill"]["double_activation_ms"] == 0.4


def test_what_was_told_twice_or_never_is_said() -> None:
    moves = [Takeover(1, 7, 1_000, may_repeat=False), Takeover(2, 9, 2_000, may_repeat=True)]
    arrivals = [(way, at, [entry]) for way in WAYS for at, entry in ((1_200, 7), (2_500, 9))]
    text = [json.dumps({"at_ms": at, "way": way, "entries": entries}) + "\n" for way, at, entries in arrivals]
    result, wrong = judge_told(moves, read_told(text))
    assert wrong == []
    assert {way: row["once"] for way, row in result.items()} == dict.fromkeys(WAYS, 2)
    assert result["mail"]["delay_ms"] == {"min": 200, "median": 350, "max": 500}
    again = [*text, json.dumps({"at_ms": 3_000, "way": "mail", "entries": [7, 9]}) + "\n"]
    result, wrong = judge_told(moves, read_told(again))
    assert wrong == ["round 1: entry 7 was told 2 times by mail"], "the leader of round 2 may have died while telling"
    assert result["mail"]["repeated"] == 2
    result, wrong = judge_told(moves, read_told(text[:-1]))
    assert len(wrong) == 1
    assert sum(row["missing"] for row in result.values()) == 1


def test_entries_are_found_in_words_for_people() -> None:
    text = "03:12 UTC shop dc-b epoch 17: taken up (over: expired of 03:11) (#413 claimed)\n... (#414 site-state)"
    assert entries_of(text) == [413, 414]


# -- the proof ----------------------------------------------------------------------------------------------------


def ledger(count: int) -> list[dict[str, Any]]:
    entries, before = [], GENESIS_HASH
    for seq in range(1, count + 1):
        where = (GroupId("shop"), SiteId("dc-a"), Epoch(0))
        event = Event(seq, LogIndex(seq), EventKind.SITE_STATE, *where, "witness", "x", WallMs(seq), b"")
        before = chain_hash(before, encode_event_body(event))
        entries.append(event_fields(dataclasses.replace(event, chain=before)))
    return entries


@pytest.mark.parametrize("how", sorted(TAMPERED))
@pytest.mark.parametrize("at", [1, 5, 8])
def test_a_copy_that_is_tampered_with_names_the_entry_that_has_to_be_named(how: str, at: int) -> None:
    evidence = {"events": ledger(11)}
    assert judge([read_event(one) for one in evidence["events"]], GroupId("shop")).proven
    copy, entry = tampered(evidence, how, at)
    verdict = judge([read_event(one) for one in copy["events"]], GroupId("shop"))
    assert not verdict.proven
    assert verdict.findings[0].seq == entry
    assert evidence == {"events": ledger(11)}, "it is a copy"


# -- the program --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("--kinds", "nobody"), ("--rounds", "0"), ("--ttl", "soon"), ("--only", "first")])
def test_wrong_arguments_are_named(options: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        licenses_run.main(list(options))
    assert ended.value.code == 2
    assert options[1] in capsys.readouterr().err


def test_the_plan_is_shown_and_a_replay_is_a_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    def plan(*options: str) -> list[str]:
        assert licenses_run.main(["--plan", "--rounds", "12", "--seed", "5", *options]) == 0
        return capsys.readouterr().out.splitlines()

    said, head, *whole = plan()
    assert said == "seed 5, 12 rounds, ttl 6s"
    assert head.split() == ["ROUND", "KIND", "THE", "KEY"]
    assert len(whole) == 12
    assert plan("--only", "4,9") == [said, head, whole[3], whole[8]]
    assert any(BEHIND in one for one in whole)


def test_the_list_says_of_both_its_parts_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert licenses_run.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds, keys = lines.index("what strikes the active site:"), lines.index("how its key changes right before:")
    assert [line.split()[0] for line in lines[kinds + 1 : keys]] == list(KINDS)
    assert [line.split()[0] for line in lines[keys + 1 :]] == list(RENEWALS)


@pytest.mark.skipif(bool(MISSING), reason=f"LICENSES WERE NOT TRIED: {MISSING}")
@pytest.mark.process
@pytest.mark.root
@pytest.mark.timeout(320)
def test_a_run_that_is_ended_by_a_signal_leaves_nothing() -> None:
    """Ended while it starts: databases, the vendor and a witness run by then."""
    command = [sys.executable, str(PROGRAM), "--rounds", "1", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stderr is not None
        first = child.stderr.readline()
        assert "a world begins" in first
        root = Path(first.split()[-1])
        ends = time.monotonic() + WAIT_S
        while not any(log.stat().st_size for log in root.glob("logs/w?.log")):
            assert child.poll() is None
            assert time.monotonic() < ends, "no witness was started"
            time.sleep(0.02)
        started = below([child.pid])
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=WAIT_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 128 + signal.SIGTERM
    told = json.loads(out.splitlines()[-1])
    assert (told["interrupted"], told["kept"], told["ok"]) == ("SIGTERM", [], False)
    assert len(started) >= 5, "two databases, the vendor, the receivers, a witness"
    assert [one for one in started if one.alive()] == []
    assert not root.exists()
    assert not [path for path in Path("/sys/fs/cgroup").glob(f"*/{root.name}") if path.exists()]
    assert not list(Path("/tmp").glob(f"thirdsite-db-seed-{child.pid}-*"))
