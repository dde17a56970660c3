"""One suite for every body of a kernel-timed resource: addresses and ports of a real kernel, and simulated ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from net_world import needs_network, network_namespace

from agents.fencing.guard_clock import boottime_ns
from agents.fencing.kernel_address import KernelAddress
from agents.fencing.memory_resources import Grain, MemoryResource
from agents.fencing.port_table import PortTable
from agents.fencing.resource_time import ADDRESS_LATENESS_NS, ADDRESS_SEND_NS, End
from agents.fencing.timed_resources import HeldAddress, HeldPorts, close_all, prepare_all

if TYPE_CHECKING:
    from agents.fencing.timed_resources import TimedResource

MS = 1_000_000
S = 1_000 * MS


class Stage:
    """A resource in its world, and the time of that world."""

    resource: TimedResource
    seconds = False
    """It counts whole seconds."""

    def now(self) -> int:
        return boottime_ns()

    def pass_ns(self, duration_ns: int) -> None:
        time.sleep(max(0, duration_ns) / S)  # the suite asks for this span to pass

    def end_in(self, wanted_ms: int) -> End:
        """An end for which the resource gets a lifetime of about `wanted_ms` (whole seconds where it counts those)."""
        if self.seconds:
            seconds = -(-wanted_ms // 1_000)
            left = ADDRESS_LATENESS_NS + ADDRESS_SEND_NS + seconds * S + S // 10
            return End(self.now() + left - 100 * MS, self.now() + left)
        deadline = self.now() + wanted_ms * MS + 330 * MS
        return End(deadline - 600 * MS, deadline)

    def hold(self, wanted_ms: int) -> int:
        """Holds; returns when it must be gone."""
        lifetime = self.resource.lifetime(self.now(), self.end_in(wanted_ms))
        assert lifetime is not None
        self.resource.hold(lifetime)
        assert self.now() <= lifetime.send_by_ns
        return lifetime.gone_by_ns


class SimulatedStage(Stage):
    def __init__(self, grain: Grain) -> None:
        self._now = 50 * S
        self.seconds = grain is Grain.SECONDS
        self.resource = MemoryResource(self.now, grain)

    def now(self) -> int:
        return self._now

    def pass_ns(self, duration_ns: int) -> None:
        self._now += duration_ns


class KernelStage(Stage):
    def __init__(self, resource: TimedResource) -> None:
        self.resource = resource
        self.seconds = isinstance(resource, HeldAddress)


REAL = {
    "ipv4": lambda: HeldAddress(KernelAddress("192.0.2.10", 24, "site0")),
    "ipv6": lambda: HeldAddress(KernelAddress("2001:db8::10", 64, "site0")),
    "ports": lambda: HeldPorts(PortTable("shop", [("tcp", 443), ("udp", 53)])),
    "ports of a range": lambda: HeldPorts(PortTable("shop", [("udp", 40_000 + number) for number in range(1_024)])),
}


@pytest.fixture(
    params=[
        "simulated-seconds",
        "simulated-milliseconds",
        *(pytest.param(kind, marks=[needs_network, pytest.mark.root]) for kind in REAL),
    ]
)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param in REAL:
        with network_namespace():
            yield KernelStage(REAL[request.param]())
        return
    yield SimulatedStage(Grain.SECONDS if request.param.endswith("-seconds") else Grain.MILLISECONDS)


def test_what_is_prepared_is_closed(stage: Stage) -> None:
    assert prepare_all([stage.resource]) == []
    assert stage.resource.still_up() == ""


def test_it_lives_and_is_gone_at_its_end_without_anybody(stage: Stage) -> None:
    stage.resource.prepare()
    gone_by = stage.hold(300)
    assert stage.resource.still_up() != ""
    stage.pass_ns(gone_by - stage.now())
    assert stage.resource.still_up() == ""


def test_holding_again_carries_it_over_its_first_end(stage: Stage) -> None:
    stage.resource.prepare()
    first = stage.hold(400)
    second = stage.hold(3_000)
    stage.pass_ns(first - stage.now() + 50 * MS)
    assert stage.resource.still_up() != ""
    assert second > first


def test_a_nearer_end_shortens_it(stage: Stage) -> None:
    stage.resource.prepare()
    far = stage.hold(9_000)
    near = stage.hold(300)
    assert near < far
    stage.pass_ns(near - stage.now())
    assert stage.resource.still_up() == ""


def test_closing_is_at_once_and_may_be_repeated(stage: Stage) -> None:
    stage.resource.prepare()
    stage.hold(60_000)
    assert close_all([stage.resource]) == []
    assert close_all([stage.resource]) == []
    assert stage.resource.still_up() == ""


def test_after_its_end_it_can_be_held_again(stage: Stage) -> None:
    stage.resource.prepare()
    stage.hold(60_000)
    stage.resource.close()
    stage.hold(60_000)
    assert stage.resource.still_up() != ""
    stage.resource.announce()


def test_an_end_that_is_too_near_gives_nothing(stage: Stage) -> None:
    now = stage.now()
    end = End(now + 20 * MS, now + (2_700 if stage.seconds else 21) * MS)
    assert stage.resource.lifetime(now, end) is None
