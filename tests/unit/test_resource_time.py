"""Lifetimes that the kernel counts: gone by the end whatever the instant of sending, refused where they cannot work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions.guard_setup import ResourcesGone
from agents.fencing import resource_time
from agents.fencing.guard_clock import boottime_ns
from agents.fencing.keeper import TOO_NEAR, Keeper, sayer
from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS, KernelTimer
from agents.fencing.line_codec import decode
from agents.fencing.memory_resources import Grain, MemoryResource
from agents.fencing.privileges import CAP_IPC_LOCK, CAP_NET_ADMIN, has_capability
from agents.fencing.resource_time import ADDRESS_LATENESS_NS, End, Lifetime, address_lifetime, port_lifetime
from proto.lease import LeaseConstants
from proto.timing import ADDRESS_RESERVE_MS, address_lifetime_ms, check_addresses
from proto.units import NS_PER_MS, NS_PER_S

NOW = st.integers(0, 10**15)
LEFT = st.integers(0, 700 * NS_PER_S)
KILL = st.integers(40 * NS_PER_MS, 60 * NS_PER_S)


@given(NOW, LEFT, KILL, st.integers(0, NS_PER_S))
def test_an_address_is_gone_by_the_deadline_also_when_it_was_sent_at_the_last_moment(
    now: int, left: int, kill: int, late: int
) -> None:
    end = End(now + left - kill, now + left)
    lifetime = address_lifetime(now, end)
    if lifetime is None:
        assert left < NS_PER_S + 1_750 * NS_PER_MS
        return
    sent = min(now + late, lifetime.send_by_ns)
    assert lifetime.amount >= 1
    assert sent + lifetime.amount * NS_PER_S + ADDRESS_LATENESS_NS <= lifetime.gone_by_ns == end.deadline_ns
    assert lifetime.send_by_ns - now >= 500 * NS_PER_MS


@given(NOW, LEFT, KILL, st.integers(0, NS_PER_S))
def test_ports_are_closed_by_the_floor_also_when_they_were_sent_at_the_last_moment(
    now: int, left: int, kill: int, late: int
) -> None:
    end = End(now + left - kill, now + left)
    lifetime = port_lifetime(now, end)
    if lifetime is None:
        return
    sent = min(now + late, lifetime.send_by_ns)
    assert sent + lifetime.amount * NS_PER_MS <= lifetime.gone_by_ns == end.deadline_ns - GUARD_FLOOR_LEAD_NS
    assert lifetime.send_by_ns - now >= min(500 * NS_PER_MS, kill // 2)


@given(LEFT)
def test_both_sides_compute_the_same_lifetime_of_an_address(left: int) -> None:
    left_ms = left // NS_PER_MS
    lifetime = address_lifetime(0, End(0, left_ms * NS_PER_MS))
    assert address_lifetime_ms(left_ms) == (0 if lifetime is None else lifetime.amount * 1_000)
    assert resource_time.ADDRESS_LATENESS_NS + resource_time.ADDRESS_SEND_NS == ADDRESS_RESERVE_MS * NS_PER_MS


@pytest.mark.parametrize(
    ("ttl_ms", "enough_ms"), [(500, 3_850), (3_000, 3_850), (3_849, 3_899), (3_850, None), (10_000, None)]
)
def test_a_ttl_is_refused_with_both_numbers_where_an_address_would_flap(ttl_ms: int, enough_ms: int | None) -> None:
    found = list(check_addresses(LeaseConstants(ttl_ms, 10_000, 0)))
    if enough_ms is None:
        assert found == []
        return
    (violation,) = found
    lives, needed = address_lifetime_ms(ttl_ms - 100), ttl_ms // 3 + 200
    assert f"here {lives} ms" in violation.rule
    assert f"{needed} ms, or it flaps" in violation.rule
    assert f"to {enough_ms} or more" in violation.remedy
    assert list(check_addresses(LeaseConstants(enough_ms, 10_000, 0))) == []


class Slow(MemoryResource):
    """Stopped between its look at the clock and the kernel, for longer than its lifetime allows."""

    def __init__(self, stopped_s: float, written_fd: int) -> None:
        super().__init__(boottime_ns, Grain.MILLISECONDS)
        self.stopped_s = stopped_s
        self.written_fd = written_fd

    def lifetime(self, now_ns: int, end: End) -> Lifetime | None:
        found = super().lifetime(now_ns, end)
        time.sleep(self.stopped_s)  # the stop of the whole process, as it is seen from the clock
        return found

    def hold(self, lifetime: Lifetime) -> None:
        os.write(self.written_fd, b"held")
        super().hold(lifetime)


@pytest.mark.parametrize("stopped_s", [0.0, 0.3])
def test_a_keeper_that_is_late_is_dead_before_it_prolongs_anything(stopped_s: float) -> None:
    says = os.pipe()[1]
    written, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        end = End(boottime_ns() + 600 * NS_PER_MS, boottime_ns() + 900 * NS_PER_MS)
        keeper = Keeper([Slow(stopped_s, write_fd)], None, sayer(says), KernelTimer())
        keeper.extend({"type": "extend", "epoch": 1, "kill_at_ns": end.kill_at_ns, "deadline_ns": end.deadline_ns})
        os._exit(0)
    os.close(write_fd)
    _pid, status = os.waitpid(pid, 0)
    held = os.read(written, 10)
    if stopped_s:
        assert (os.waitstatus_to_exitcode(status), held) == (-signal.SIGKILL, b"")
    else:
        assert (os.waitstatus_to_exitcode(status), held) == (0, b"held")


def test_a_keeper_says_what_it_could_not_hold_and_nothing_is_held_after_the_close() -> None:
    read_fd, write_fd = os.pipe()
    resource = MemoryResource(boottime_ns, Grain.SECONDS)
    keeper = Keeper([resource], None, sayer(write_fd), KernelTimer())
    now = boottime_ns()

    def extended(left_ms: int, epoch: int = 1) -> dict[str, object]:
        deadline = now + left_ms * NS_PER_MS
        keeper.extend({"type": "extend", "epoch": epoch, "kill_at_ns": deadline, "deadline_ns": deadline})
        return decode(os.read(read_fd, 4_096))

    near = {"name": resource.name, "gone_by_ns": 0, "problem": TOO_NEAR}
    assert extended(2_000)["resources"] == [near]
    for epoch in (1, 2):
        for _ in range(6):
            assert extended(60_000, epoch)["resources"] == [
                {"name": resource.name, "gone_by_ns": now + 60_000 * NS_PER_MS, "problem": ""}
            ]
    assert resource.announced == 3 + 4, "with the first four extensions of each epoch, the failed one included"
    keeper.close()
    assert decode(os.read(read_fd, 4_096)) == {"type": "closed", "problems": []}
    keeper.extend({"type": "extend", "epoch": 3, "kill_at_ns": 1, "deadline_ns": now + 60_000 * NS_PER_MS})
    assert resource.still_up() == ""


class Stubborn(MemoryResource):
    """Somebody else puts it back, or the kernel does not let go of it."""

    def close(self) -> None:
        return


async def test_the_proof_of_down_closes_what_it_finds_and_says_what_stays() -> None:
    left, stays = MemoryResource(lambda: 0, Grain.SECONDS), Stubborn(lambda: 0, Grain.SECONDS)
    left.gone_at_ns = stays.gone_at_ns = 7 * NS_PER_S
    assert await ResourcesGone((left, stays)).still_up() == f"{stays.name}: open for 7000 ms more"
    assert left.still_up() == ""


def test_a_capability_is_read_as_the_kernel_says_it() -> None:
    text = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in text.splitlines() if line.startswith("CapEff:")), 16)
    for number in (CAP_NET_ADMIN, CAP_IPC_LOCK, 24, 40, 63):
        assert has_capability(number) == bool(effective & 1 << number)
