"""How long a resource may live in the kernel, so that it is gone at the deadline whoever runs or does not.

The kernel takes a *relative* lifetime, counted from when it takes the message. Whoever computes one and is stopped
before it is sent would prolong the resource beyond the deadline. So every lifetime has a `send_by`: the sender arms
a kernel timer with SIGKILL for that instant (agents/fencing/keeper.py), and the message is taken before it or never.

    taken at <= send_by        gone at <= taken + lifetime + lateness        send_by + lifetime + lateness = the end

For an address the kernel counts whole seconds and looks at most once a second (net/ipv4/devinet.c, addrconf.c), so
up to ADDRESS_LATENESS later; the end is the deadline. For a port it counts jiffies and compares at each packet; the
end is the floor, GUARD_FLOOR_LEAD before the deadline, which is more than two jiffies of any kernel.
Pure. proto/timing.py has the part that refuses a ttl for which it cannot work; a test proves that they agree.
"""

from __future__ import annotations

from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

ADDRESS_LATENESS_NS = 1_250 * NS_PER_MS
"""One second between two looks of the kernel, and a quarter of a second for its worker to get its turn."""
ADDRESS_SEND_NS = 500 * NS_PER_MS
PORT_SEND_NS_MAX = 500 * NS_PER_MS
"""How late a message may be taken: other work on the network's configuration may hold the kernel's lock."""


class End:
    """When an authority ends, of the guard's rungs."""

    __slots__ = ("deadline_ns", "kill_at_ns")

    def __init__(self, kill_at_ns: int, deadline_ns: int) -> None:
        self.kill_at_ns = kill_at_ns
        self.deadline_ns = deadline_ns


class Lifetime:
    """`amount` in the kernel's unit, taken by `send_by_ns` or not at all; gone at `gone_by_ns` at the latest."""

    __slots__ = ("amount", "gone_by_ns", "send_by_ns")

    def __init__(self, amount: int, send_by_ns: int, gone_by_ns: int) -> None:
        self.amount = amount
        self.send_by_ns = send_by_ns
        self.gone_by_ns = gone_by_ns


def address_lifetime(now_ns: int, end: End) -> Lifetime | None:
    """Whole seconds; None when not even one fits."""
    left = end.deadline_ns - now_ns - ADDRESS_LATENESS_NS
    seconds = (left - ADDRESS_SEND_NS) // NS_PER_S
    if seconds < 1:
        return None
    return Lifetime(seconds, now_ns + left - seconds * NS_PER_S, end.deadline_ns)


def port_lifetime(now_ns: int, end: End) -> Lifetime | None:
    """Milliseconds; None when nothing is left."""
    gone_by = end.deadline_ns - GUARD_FLOOR_LEAD_NS
    send = min(PORT_SEND_NS_MAX, (end.deadline_ns - end.kill_at_ns) // 2)
    left_ms = (gone_by - send - now_ns) // NS_PER_MS
    if left_ms < 1:
        return None
    return Lifetime(left_ms, gone_by - left_ms * NS_PER_MS, gone_by)
