"""The watchdog's arithmetic and manners, on a simulated device: last feed + time-out <= deadline, closed on proof."""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fencing.keeper import Keeper, sayer
from agents.fencing.kernel_timer import KernelTimer
from agents.fencing.line_codec import decode
from agents.fencing.resource_time import End
from agents.fencing.watchdog import LATENESS_NS, SEND_NS, Watchdog, WatchdogDevice, watchdog_lifetime
from proto.timing import WATCHDOG_WINDOW_MS, SiteBudgets, check_ladder
from proto.units import NS_PER_MS, NS_PER_S

SETTIMEOUT, MAGICCLOSE = 0x80, 0x100
SUPPORT, SET, FEED = 0x8028_5700, 0xC004_5706, 0x8004_5705


class SimulatedDevice(WatchdogDevice):
    """A card that counts from its last feed; `resets_at` is when it would reset the host, None while it is off."""

    def __init__(self, *, options: int = SETTIMEOUT | MAGICCLOSE, step_s: int = 1, trouble: str = "") -> None:
        super().__init__("/dev/simulated")
        self.now = 0
        self.resets_at: int | None = None
        self.calls: list[str] = []
        self.options = options
        self.step_s = step_s
        self.trouble = trouble
        self.timeout_s = 60
        self.magic = False

    def usable(self) -> None:
        if self.trouble:
            raise OSError(errno.ENODEV, self.trouble)

    def active(self) -> bool:
        return self.resets_at is not None

    def open(self) -> None:
        self.calls.append("open")
        self._start_counting()

    def control(self, request: int, argument: bytearray) -> None:
        if request == SUPPORT:
            argument[:] = struct.pack("=II32s", self.options, 1, b"simulated")
        elif request == SET:
            (wanted,) = struct.unpack("=i", argument)
            self.timeout_s = -(-wanted // self.step_s) * self.step_s
            argument[:] = struct.pack("=i", self.timeout_s)
            self._start_counting()
        elif request == FEED:
            self.calls.append("feed")
            self._start_counting()
        else:
            raise AssertionError(hex(request))

    def write(self, data: bytes) -> None:
        self.magic = data == b"V"

    def close(self) -> None:
        self.calls.append("close")
        if self.magic:
            self.resets_at = None

    def _start_counting(self) -> None:
        self.resets_at = self.now + self.timeout_s * NS_PER_S


@given(st.integers(0, 10**15), st.integers(0, 700 * NS_PER_S), st.integers(0, NS_PER_S))
def test_the_last_feed_and_the_time_out_end_by_the_deadline(now: int, left: int, late: int) -> None:
    lifetime = watchdog_lifetime(now, End(now, now + left))
    if lifetime is None:
        assert left < NS_PER_S + LATENESS_NS + SEND_NS
        return
    fed = min(now + late, lifetime.send_by_ns)
    resets = fed + lifetime.amount * NS_PER_S
    assert resets + LATENESS_NS <= lifetime.gone_by_ns == now + left
    assert lifetime.send_by_ns - now >= SEND_NS
    if late == 0:
        assert resets >= now + left - WATCHDOG_WINDOW_MS * NS_PER_MS, "not before the kill is over"


@pytest.mark.parametrize(
    ("left_ms", "late_ms", "timeout_s", "resets_ms"),
    [
        (10_000, 0, 9, 9_000),
        (10_300, 0, 10, 10_000),
        (10_299, 0, 9, 9_000),
        (10_299, 1_199, 9, 10_199),
        (1_300, 0, 1, 1_000),
        (1_299, 0, None, None),
    ],
)
def test_the_table_of_the_arithmetic(left_ms: int, late_ms: int, timeout_s: int | None, resets_ms: int | None) -> None:
    lifetime = watchdog_lifetime(0, End(0, left_ms * NS_PER_MS))
    if timeout_s is None or resets_ms is None:
        assert lifetime is None
        return
    assert lifetime is not None
    device = SimulatedDevice()
    device.now = late_ms * NS_PER_MS
    assert device.now <= lifetime.send_by_ns
    Watchdog(device).hold(lifetime)
    assert (lifetime.amount, device.timeout_s) == (timeout_s, timeout_s)
    assert device.resets_at == resets_ms * NS_PER_MS
    assert device.resets_at + LATENESS_NS <= left_ms * NS_PER_MS


def held(device: SimulatedDevice, left_ms: int = 10_000) -> Watchdog:
    watchdog = Watchdog(device)
    lifetime = watchdog_lifetime(device.now, End(0, device.now + left_ms * NS_PER_MS))
    assert lifetime is not None
    watchdog.hold(lifetime)
    return watchdog


def test_it_is_opened_with_the_first_deadline_and_fed_with_each() -> None:
    device = SimulatedDevice()
    watchdog = Watchdog(device)
    watchdog.prepare()
    assert device.calls == [], "opening a watchdog starts it: not while dormant"
    watchdog = held(device)
    device.now += 3 * NS_PER_S
    lifetime = watchdog_lifetime(device.now, End(0, device.now + 10 * NS_PER_S))
    assert lifetime is not None
    watchdog.hold(lifetime)
    assert device.calls == ["open", "feed", "feed"]
    assert device.resets_at == 12 * NS_PER_S


def test_only_the_magic_close_stops_it() -> None:
    device = SimulatedDevice()
    watchdog = held(device)
    assert watchdog.still_up() != ""
    watchdog.close()
    watchdog.close()
    assert (device.resets_at, watchdog.still_up(), device.calls[-1]) == (None, "", "close")


def test_one_that_a_former_life_left_counting_is_stopped_once_everything_is_proven_down() -> None:
    device = SimulatedDevice()
    held(device)
    Watchdog(device).prepare()
    assert device.resets_at is None


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (SimulatedDevice(options=MAGICCLOSE), "its time-out cannot be set"),
        (SimulatedDevice(options=SETTIMEOUT), "it knows no magic close"),
        (SimulatedDevice(step_s=60), "its steps are too coarse"),
    ],
)
def test_a_device_that_cannot_keep_the_arithmetic_is_refused(device: SimulatedDevice, words: str) -> None:
    with pytest.raises(OSError, match=words):
        held(device)


def test_a_driver_that_rounds_up_gets_a_shorter_time_out() -> None:
    device = SimulatedDevice(step_s=4)
    held(device)
    assert device.timeout_s == 8


def keeper_with(device: SimulatedDevice) -> tuple[Keeper, int]:
    read_fd, write_fd = os.pipe()
    return Keeper([], Watchdog(device), sayer(write_fd), KernelTimer()), read_fd


def test_the_keeper_stops_it_on_proof_only_and_also_what_a_lost_keeper_left_counting() -> None:
    device = SimulatedDevice()
    held(device)
    keeper, said = keeper_with(device)
    keeper.close()
    assert decode(os.read(said, 4_096))["type"] == "closed"
    assert device.resets_at is not None, "addresses and ports are gone; nothing is proven dead yet"
    keeper.finish(armed=True)
    assert decode(os.read(said, 4_096)) == {"type": "finished", "problems": []}
    assert device.resets_at is None


def test_a_keeper_of_a_guard_that_was_never_armed_does_not_open_it() -> None:
    device = SimulatedDevice()
    keeper, said = keeper_with(device)
    keeper.finish(armed=False)
    assert decode(os.read(said, 4_096)) == {"type": "finished", "problems": []}
    assert device.calls == []


def test_a_real_device_that_is_not_there_is_named_with_a_remedy(tmp_path: object) -> None:
    with pytest.raises(OSError, match="is its driver loaded"):
        WatchdogDevice(f"{tmp_path}/watchdog").usable()


@pytest.mark.parametrize(
    ("kill_ms", "watchdog", "reset_ms", "expected"),
    [
        (1_499, True, None, "kill_budget >= 1500 ms"),
        (1_500, True, None, ""),
        (1_000, False, 99, "at least 2 x 50 ms"),
        (300, False, 200, "kill_budget >= reset.before + 200 ms = 400 ms"),
        (400, False, 200, ""),
        (40, False, None, ""),
    ],
)
def test_budgets_that_leave_no_time_for_a_rung_are_refused_with_both_numbers(
    kill_ms: int, watchdog: bool, reset_ms: int | None, expected: str
) -> None:
    found = list(check_ladder(SiteBudgets(9_000, kill_ms), watchdog=watchdog, reset_before_ms=reset_ms))
    assert [expected in violation.rule for violation in found] == ([True] if expected else [])
