"""The lease held by the kernel: a POSIX timer on CLOCK_BOOTTIME whose signal is SIGKILL to its own process.

Rule: the timer is armed with one absolute timer_settime, never disarmed in order to be armed again, so there is
no instant at which a guard with protected processes has no deadline. When it fires no user code has to be
scheduled: the kernel kills the guard, whose death kills the init of the namespace (PR_SET_PDEATHSIG), whose death
ends everything in it, stopped or not. Timers are not inherited by fork and do not survive execve.
Rejected: a timer in the init itself (the init of a PID namespace ignores a SIGKILL of its own making), timerfd
and alarm handlers (need this process to run), CLOCK_MONOTONIC (stops in suspend).
"""

from __future__ import annotations

import ctypes
import signal
import time

from agents.fencing.kernel_calls import check, library

GUARD_FLOOR_LEAD_NS = 50_000_000
"""Armed this long before the deadline: see proto.limits, whose value it equals (tested)."""

_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1
_NS_PER_S = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class _Sigevent(ctypes.Structure):
    _fields_ = (
        ("sigev_value", ctypes.c_void_p),
        ("sigev_signo", ctypes.c_int),
        ("sigev_notify", ctypes.c_int),
        ("padding", ctypes.c_int * 12),
    )


class KernelTimer:
    """Owned by the one thread of a guard; `arm` may move the end in either direction, in one step."""

    __slots__ = ("_id", "_spec", "armed_at_ns")

    def __init__(self) -> None:
        event = _Sigevent(sigev_signo=int(signal.SIGKILL), sigev_notify=_SIGEV_SIGNAL)
        self._id = ctypes.c_void_p()
        self._spec = _Itimerspec()
        self.armed_at_ns: int | None = None
        check(
            library().timer_create(ctypes.c_int(time.CLOCK_BOOTTIME), ctypes.byref(event), ctypes.byref(self._id)),
            "timer_create(CLOCK_BOOTTIME)",
        )

    def arm(self, at_ns: int) -> None:
        """SIGKILL to this process at `at_ns` of BOOTTIME, at once when that has passed."""
        self._set(max(at_ns, 1))
        self.armed_at_ns = at_ns

    def disarm(self) -> None:
        """Only after everything protected was verified dead."""
        self._set(0)
        self.armed_at_ns = None

    def _set(self, at_ns: int) -> None:
        self._spec.it_value.tv_sec = at_ns // _NS_PER_S
        self._spec.it_value.tv_nsec = at_ns % _NS_PER_S
        check(
            library().timer_settime(self._id, ctypes.c_int(_TIMER_ABSTIME), ctypes.byref(self._spec), None),
            "timer_settime",
        )
