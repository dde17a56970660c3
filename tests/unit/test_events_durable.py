"""Events and marks of a turn are in that turn's transaction: a crash right after it loses none (real store)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NoReturn

from core_rig import AUTHOR, CLUSTER, W, config

from proto.clock import ManualClock
from proto.commands import ConfigureGroup
from proto.events import Event
from proto.messages import Notice
from proto.units import NS_PER_MS, ClusterId, InstantNs, SiteId, WallMs
from witness.core.effects import Outcome
from witness.core.node import WitnessNode
from witness.raft.node import RaftNode
from witness.raft.store import create_store, open_store
from witness.raft.timers import CompactionLimits, RaftTimers
from witness.runtime.driver import Driver
from witness.runtime.facade import DriverShell
from witness.runtime.telemetry import Telemetry

STEP_NS = 20 * NS_PER_MS
ALONE = W[0]


def fatal(error: BaseException) -> NoReturn:
    raise error


def no_push(site: SiteId, notice: Notice) -> None:
    del site, notice


def ignored(outcome: Outcome) -> None:
    del outcome


def test_the_disk_has_every_event_that_the_turn_applied_before_anybody_is_answered(tmp_path: Path) -> None:
    create_store(tmp_path, ClusterId(CLUSTER), ALONE)
    store = open_store(tmp_path, ClusterId(CLUSTER), ALONE)
    clock = ManualClock()
    own = WitnessNode(self_id=ALONE, cluster=ClusterId(CLUSTER), witnesses=(ALONE,), session=b"s" * 16, now=clock.now())
    driver = Driver(node=own, clock=clock, fatal=fatal, shell=DriverShell(store, Telemetry(), no_push))
    raft = RaftNode(
        self_id=ALONE,
        peers=(),
        store=store,
        replicated=driver,
        timers=RaftTimers(),
        compaction=CompactionLimits(),
        now_ns=clock.now(),
        rng=random.Random(1),
    )
    driver.attach(raft)  # type: ignore[arg-type] - the part of a port that the driver uses
    asked = False
    for _ in range(200):
        clock.advance(STEP_NS)
        raft.turn(InstantNs(clock.now()), {})
        assert len(store.read_events(1, 1_000)) == own.events.head_seq
        raft.finish()
        own.tick(clock.now(), WallMs(0))
        driver.turn_synced()
        if own.machine.state.cluster is not None and not asked:
            asked = True
            driver.ask(ConfigureGroup(config(), 0, AUTHOR), ignored)
    seen: list[Event] = own.events.recent(0, 1_000)
    assert any(event.group == config().group for event in seen)
    store.close()
