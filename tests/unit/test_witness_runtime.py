"""Metrics, reads and the end of a broken process, without a cluster."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from proto.clock_rate import RateBounds
from proto.codec import EVENTS
from proto.decisions import Reason
from proto.events import Event, EventKind
from proto.units import Epoch, LogIndex, SiteId, WallMs
from witness.runtime.facade import Facade
from witness.runtime.telemetry import SiteLook, Telemetry


class Looks:
    def summary(self) -> dict[str, Any]:
        place = {"leading": True, "has_quorum": True, "caught_up": False}
        return {**place, "groups_by_phase": {"held": 3, "vacant": 1}, "groups_by_mode": {"automatic": 4}}

    def sites(self) -> dict[SiteId, SiteLook]:
        return {SiteId("dc-a"): SiteLook(0.5, 1, 2, RateBounds(999_900, 1_000_100)), SiteId("dc-b"): SiteLook(None, 0)}

    def consensus(self) -> dict[str, float]:
        return {"term": 7.0}

    def streams(self) -> dict[SiteId, float]:
        return {SiteId("dc-a"): 0.25}


def test_metrics_show_place_groups_sites_and_answers() -> None:
    telemetry = Telemetry()
    telemetry.watch(Looks())
    telemetry.answered("heartbeat", Reason.OK, 0.003)
    telemetry.heartbeats.labels("dc-a").inc()
    lines = set(telemetry.render().decode().splitlines())
    assert {
        "thirdsite_leader 1.0",
        "thirdsite_caught_up 0.0",
        'thirdsite_groups{phase="held"} 3.0',
        'thirdsite_heard_seconds{site="dc-a"} 0.5',
        'thirdsite_quarantined_groups{site="dc-a"} 1.0',
        'thirdsite_clock_unfit_groups{site="dc-a"} 2.0',
        'thirdsite_clock_rate_at_least{site="dc-a"} 0.9999',
        'thirdsite_clock_rate_at_most{site="dc-a"} 1.0001',
        "thirdsite_streams 1.0",
        'thirdsite_stream_silent_seconds{site="dc-a"} 0.25',
        "thirdsite_raft_term 7.0",
        'thirdsite_heartbeats_total{site="dc-a"} 1.0',
        'thirdsite_answer_seconds_bucket{kind="heartbeat",le="0.004"} 1.0',
        'thirdsite_outcomes_total{kind="heartbeat",reason="ok"} 1.0',
    } <= lines
    assert not any('heard_seconds{site="dc-b"}' in line for line in lines)
    assert not any('clock_rate_at_least{site="dc-b"}' in line for line in lines)
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


def test_old_events_come_from_the_disk_and_new_ones_from_memory() -> None:
    def event(seq: int) -> Event:
        return Event(seq, LogIndex(seq), EventKind.MODE, None, None, Epoch(0), "ann", "", WallMs(0), b"\1" * 32)

    recent = [event(seq) for seq in range(5, 8)]
    asked: list[tuple[int, int]] = []

    def read_events(first: int, limit: int) -> list[tuple[int, bytes]]:
        asked.append((first, limit))
        return [(seq, EVENTS.encode(event(seq))) for seq in range(first, first + limit)]

    node = SimpleNamespace(
        machine=SimpleNamespace(state=SimpleNamespace(ledger=SimpleNamespace(recent=recent))),
        events=SimpleNamespace(recent=lambda after, limit: [one for one in recent if one.seq > after][:limit]),
    )
    facade = Facade(SimpleNamespace(node=node), SimpleNamespace(read_events=read_events))  # type: ignore[arg-type] - fakes
    assert [one.seq for one in facade.events(4, 10)] == [5, 6, 7]
    assert asked == []
    assert [one.seq for one in facade.events(1, 3)] == [2, 3, 4]
    assert asked == [(2, 3)]


def test_a_broken_process_ends_at_once_and_says_why() -> None:
    code = (
        "import atexit; atexit.register(lambda: print('exit handlers ran'));"
        "from witness.runtime.fatal import fatal; from proto.invariants import InvariantViolation;"
        "fatal(InvariantViolation('epoch 3 after epoch 4'))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 70
    assert "epoch 3 after epoch 4" in ended.stderr
    assert ended.stdout == ""


def test_what_only_an_upgrade_can_mend_ends_in_words_and_is_not_started_again() -> None:
    code = (
        "from witness.runtime.fatal import fatal; from proto.features import UpgradeRequired;"
        "fatal(UpgradeRequired('needs level 2: install the newer version'))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 78
    assert "needs level 2: install the newer version" in ended.stderr
    assert "Traceback" not in ended.stderr
