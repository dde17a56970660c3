"""Every means by which people are told, held to one contract, against real receivers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proto.clock import SystemClock
from proto.units import ClusterId, WitnessId
from witness.core.notify.settings import Way
from witness.notify.apprise_body import AppriseDelivery
from witness.notify.command import CommandDelivery
from witness.notify.letter import Sender, of_test
from witness.notify.memory import MemoryDelivery
from witness.notify.outlet import WorkerOutlet
from witness.notify.port import Delivery, Report
from witness.notify.webhook import WebhookDelivery

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from notify_servers import http_receiver, mail_receiver  # of the tests next door

pytestmark = pytest.mark.filterwarnings("ignore:.*imghdr:DeprecationWarning")  # loaded by apprise's mail plug-in
SECRET = "s3cret-t0ken"
TIMEOUT_MS = 5_000
HUNG_MS = 300
NOW_S = 1_800_000_000


def letter(key: str = "a" * 32) -> dict[str, Any]:
    return of_test(Sender(ClusterId("c" * 32), WitnessId("w1")), "ops", key, "ann").to_json()


@dataclass
class Means:
    body: Delivery
    way: Way
    titles: Callable[[], list[str]]
    """Of what arrived."""
    refuses: Callable[[], None]
    hangs: Callable[[], None] | None
    gone: Way
    """The same means to where nobody is."""


def secret_file(directory: Path, content: str, name: str = "secret") -> str:
    path = directory / name
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


@contextlib.asynccontextmanager
async def webhook(directory: Path) -> AsyncIterator[Means]:
    async with http_receiver() as server:
        way = Way(
            "webhook", f"{server.url}/in/{SECRET}", secret_file=secret_file(directory, SECRET), timeout_ms=TIMEOUT_MS
        )
        yield Means(
            WebhookDelivery(lambda: NOW_S),
            way,
            lambda: [one["title"] for one in server.letters()],
            lambda: setattr(server, "status", 503),
            lambda: setattr(server, "status", 0),
            replace(way, url=f"http://127.0.0.1:1/{SECRET}"),
        )


@contextlib.asynccontextmanager
async def apprise_json(directory: Path) -> AsyncIterator[Means]:
    async with http_receiver() as server:
        where = server.url.removeprefix("http://")
        way = Way(
            "apprise",
            url_file=secret_file(directory, f"json://ann:{SECRET}@{where}/in/{SECRET}\n"),
            timeout_ms=TIMEOUT_MS,
        )
        gone = secret_file(directory, f"json://ann:{SECRET}@127.0.0.1:1/{SECRET}\n", "gone")
        yield Means(
            AppriseDelivery(SystemClock()),
            way,
            lambda: [one["title"] for one in server.letters()],
            lambda: setattr(server, "status", 503),
            lambda: setattr(server, "status", 0),
            replace(way, url_file=gone),
        )


@contextlib.asynccontextmanager
async def apprise_mail(directory: Path) -> AsyncIterator[Means]:
    async with mail_receiver() as server:
        rest = "?from=witness@example.net&to=ops@example.net&mode=insecure"
        way = Way(
            "apprise",
            url_file=secret_file(directory, f"mailto://127.0.0.1:{server.port}{rest}"),
            timeout_ms=TIMEOUT_MS,
        )
        yield Means(
            AppriseDelivery(SystemClock()),
            way,
            lambda: [str(mail["subject"]) for mail in server.mails],
            lambda: setattr(server, "refuse", True),
            lambda: setattr(server, "silent", True),
            replace(way, url_file=secret_file(directory, f"mailto://127.0.0.1:1{rest}", "gone")),
        )


@contextlib.asynccontextmanager
async def command(directory: Path) -> AsyncIterator[Means]:
    script, mode = directory / "tell", directory / "mode"
    mode.write_text("take", encoding="utf-8")
    script.write_text(
        "#!/bin/sh\n"
        f'case "$(cat {mode})" in refuse) echo {SECRET} >&2; exit 3;; hang) sleep 60;; esac\n'
        f'cat > /dev/null; echo "$THIRDSITE_NOTIFY_TITLE" >> {directory}/arrived\n',
        encoding="utf-8",
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    arrived = directory / "arrived"
    yield Means(
        CommandDelivery(),
        Way("exec", command=(str(script),), timeout_ms=TIMEOUT_MS),
        lambda: arrived.read_text(encoding="utf-8").splitlines() if arrived.exists() else [],
        lambda: mode.write_text("refuse", encoding="utf-8"),
        lambda: mode.write_text("hang", encoding="utf-8"),
        Way("exec", command=(str(directory / "none"),), timeout_ms=TIMEOUT_MS),
    )


@contextlib.asynccontextmanager
async def memory(_directory: Path) -> AsyncIterator[Means]:
    body = MemoryDelivery()

    def refuses() -> None:
        body.answer = Report(ok=False, again=True, text="refused")

    way = Way("memory")
    yield Means(body, way, lambda: [one["title"] for one in body.letters], refuses, None, way)


ALL = [webhook, apprise_json, apprise_mail, command, memory]


@pytest.fixture(params=ALL, ids=lambda one: one.__name__)
async def means(request, tmp_path) -> AsyncIterator[Means]:
    async with request.param(tmp_path) as made:
        yield made


def said(report: Report) -> str:
    """All that leaves the delivering process for the ledger."""
    return report.text


async def test_a_letter_arrives_once_and_says_what_it_is(means):
    assert await means.body.deliver(means.way, letter()) == Report(ok=True)
    (title,) = means.titles()
    assert title == "[TEST] thirdsite: ops can be reached from w1"


async def test_who_refuses_now_is_asked_again_and_no_secret_is_said(means):
    means.refuses()
    report = await means.body.deliver(means.way, letter())
    assert (report.ok, report.again) == (False, True)
    assert report.text
    assert SECRET not in said(report)
    assert means.titles() == []


async def test_who_never_answers_costs_the_time_limit_and_no_more(means):
    if means.hangs is None:
        return
    means.hangs()
    clock = SystemClock()
    begun = clock.now()
    report = await means.body.deliver(replace(means.way, timeout_ms=HUNG_MS), letter())
    took_ms = (clock.now() - begun) / 1_000_000
    assert (report.ok, report.again) == (False, True)
    assert took_ms < HUNG_MS + 2_000
    assert SECRET not in said(report)


async def test_nobody_there_is_an_answer_too(means):
    means.refuses()
    report = await means.body.deliver(means.gone, letter())
    assert (report.ok, report.again) == (False, True)
    assert SECRET not in said(report)
    assert "127.0.0.1:1/" not in said(report)


@pytest.mark.parametrize("make", [webhook, apprise_mail, command], ids=lambda one: one.__name__)
async def test_the_process_that_delivers_keeps_the_same_contract(make, tmp_path):
    """By the pipe, as a witness does it; two at once."""
    outlet = WorkerOutlet(SystemClock())
    try:
        async with make(tmp_path) as made:
            sent = of_test(Sender(ClusterId("c" * 32), WitnessId("w1")), "ops", "b" * 32, "ann")
            way = replace(made.way, timeout_ms=10_000)
            reports = await asyncio.gather(outlet.send(way, sent), outlet.send(way, sent))
            assert [report.ok for report in reports] == [True, True], reports
            assert len(made.titles()) == 2
            made.refuses()
            report = await outlet.send(way, sent)
            assert (report.ok, report.again) == (False, True)
    finally:
        await outlet.close()
