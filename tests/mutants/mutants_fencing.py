"""What guards hold beside processes: keeper, resources, ladder, watchdog, components.

Schedules fit the sites out with what a rule is about (witness.sim.host); patches are of the product alone.
"""

from __future__ import annotations

import pytest
from mutant import Mutant, SimFocus, rewritten

from agents.actions.proof import DownProof
from agents.components.spec import ComponentRole
from agents.components.watching import ComponentProbe
from agents.core.group import GroupAgent
from agents.fencing import memory_resources, timed_resources, watchdog
from agents.fencing.authority import Authority
from agents.fencing.keeper import Keeper
from agents.fencing.keeper_link import KeeperLink
from agents.fencing.ladder import Ladder
from agents.fencing.resource_time import Lifetime
from agents.fencing.watchdog import Watchdog
from agents.probes.base import ProbeResult
from proto.units import NS_PER_S
from witness.sim.setup import Fitting

HELD = Fitting(address=True, ports=True)
WATCHED = Fitting(watchdog=True, required=True)
OUTSIDE = Fitting(component=ComponentRole.EXCLUSIVE)
RESOURCE = frozenset({"resource"})
WATCHDOG = frozenset({"watchdog"})
COMPONENT = frozenset({"component"})
OUTLIVES = frozenset({"overlap", "authority"})


# -- keeper and resources -------------------------------------------------------------------------------------


def a_late_keeper_lives(patch: pytest.MonkeyPatch) -> None:
    """Its timer comes ten seconds late."""
    right = Keeper._hold

    class Late:
        def __init__(self, timer):
            self.timer = timer

        def arm(self, at_ns):
            self.timer.arm(at_ns + 10 * NS_PER_S)

        def disarm(self):
            self.timer.disarm()

    def hold(self, resource, end):
        timer, self.timer = self.timer, Late(self.timer)
        try:
            return right(self, resource, end)
        finally:
            self.timer = timer

    patch.setattr(Keeper, "_hold", hold)


def the_kernel_is_never_late(patch: pytest.MonkeyPatch) -> None:
    """An address gets all that is left of the lease, in whole seconds."""

    def lifetime(now_ns, end):
        seconds = (end.deadline_ns - now_ns) // NS_PER_S
        return Lifetime(seconds, end.deadline_ns, end.deadline_ns) if seconds >= 1 else None

    patch.setattr(memory_resources, "address_lifetime", lifetime)


def ports_for_two_leases(patch: pytest.MonkeyPatch) -> None:
    """So that a lost renewal does not close them."""

    def lifetime(now_ns, end):
        return Lifetime(8_000, end.deadline_ns, end.deadline_ns)

    patch.setattr(memory_resources, "port_lifetime", lifetime)


def a_lost_keeper_is_not_replaced(patch: pytest.MonkeyPatch) -> None:
    right = KeeperLink._send

    def send(self, message):
        if self.pid or not self.lost:
            right(self, message)

    patch.setattr(KeeperLink, "_send", send)


def prolonged_after_the_close(patch: pytest.MonkeyPatch) -> None:
    right = Keeper.extend

    def extend(self, message):
        self.closed = False
        right(self, message)

    patch.setattr(Keeper, "extend", extend)


# -- the ladder -----------------------------------------------------------------------------------------------


def rungs_are_believed(patch: pytest.MonkeyPatch) -> None:
    """What was killed counts as gone."""
    patch.setattr(Ladder, "_may_be_alive", lambda self, rung, group: False)


def the_reset_never_comes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ladder, "reset_if_due", lambda self, now_ns: None)


def the_reset_goes_by_one_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "counted_ns", lambda self, now: now.boot_ns)


def the_watchdog_stops_with_the_kill(patch: pytest.MonkeyPatch) -> None:
    """Before anything is proven."""
    right = Ladder.kill

    def kill(self):
        right(self)
        if self.keeper is not None:
            self.keeper.finish()

    patch.setattr(Ladder, "kill", kill)


def a_required_watchdog_may_miss(patch: pytest.MonkeyPatch) -> None:
    right = Ladder.renewed

    def renewed(self, rungs):
        right(self, rungs)
        return ""

    patch.setattr(Ladder, "renewed", renewed)


def what_a_host_lacks_is_no_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GroupAgent, "host_blockers", lambda self: ())


def fed_beyond_the_deadline(patch: pytest.MonkeyPatch) -> None:
    """The time-out is rounded up."""
    right = watchdog.watchdog_lifetime

    def lifetime(now_ns, end):
        found = right(now_ns, end)
        return None if found is None else Lifetime(found.amount + 1, found.send_by_ns, found.gone_by_ns)

    patch.setattr(watchdog, "watchdog_lifetime", lifetime)


def a_coarse_watchdog_is_longer(patch: pytest.MonkeyPatch) -> None:
    """Whatever time-out its driver settles on is taken."""
    rewritten(Watchdog._set_timeout, "0 < settled <= seconds", "settled")(patch)


def a_left_watchdog_counts_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watchdog, "prepare", lambda self: self._device.usable())


# -- components -----------------------------------------------------------------------------------------------


def components_are_believed(patch: pytest.MonkeyPatch) -> None:
    async def end_components(self):
        return []

    patch.setattr(DownProof, "end_components", end_components)


def what_was_asked_to_end_has_ended(patch: pytest.MonkeyPatch) -> None:
    right = DownProof.end_components

    async def end_components(self):
        await right(self)
        return []

    patch.setattr(DownProof, "end_components", end_components)


def nobody_looks_at_a_dormant_site(patch: pytest.MonkeyPatch) -> None:
    async def look(self):
        return ProbeResult(passed=True)

    patch.setattr(ComponentProbe, "look", look)


def _shown(name: str, rule: str, where: str, patch, focus: SimFocus) -> Mutant:
    return Mutant(name, rule, where, patch, focus)


_LIFETIMES = "unit/test_resource_time.py::"
_WATCHDOG = "unit/test_guard_watchdog.py::"
CLINGS = ("component-clings", "switchover", "agent-crash")
MUTANTS = (
    _shown(
        "late-keeper-lives",
        "a message about a lifetime reaches the kernel in time, or whoever sends it is dead",
        "fencing: resources",
        a_late_keeper_lives,
        SimFocus(("keeper-late", "site-freeze"), RESOURCE, 40, fitting=HELD),
    ),
    _shown(
        "kernel-is-never-late",
        "an address gets what is left of the lease less what its kernel and its sender may be late",
        "fencing: resources",
        the_kernel_is_never_late,
        SimFocus(("cut-site", "site-freeze"), RESOURCE, 10, fitting=HELD),
    ),
    _shown(
        "ports-for-two-leases",
        "a lifetime ends with the lease, not later",
        "fencing: resources",
        ports_for_two_leases,
        SimFocus(("cut-site", "site-freeze"), RESOURCE, 10, fitting=HELD),
    ),
    Mutant(
        "lost-keeper-not-replaced",
        "a keeper that was lost is forked anew with the next deadline",
        "fencing: resources",
        a_lost_keeper_is_not_replaced,
        tests=("sim/test_sim_host.py::test_a_killed_keeper_is_forked_anew_and_nothing_is_lost",),
        why="what is not prolonged is gone early, which costs the service and no promise",
    ),
    Mutant(
        "prolonged-after-the-close",
        "after a close a keeper gives nothing any more",
        "fencing: resources",
        prolonged_after_the_close,
        tests=(
            "unit/test_resource_time.py::test_a_keeper_says_what_it_could_not_hold_and_nothing_is_held_after_the_close",
        ),
        why="a guard that closes has ended its authority before, and hands on no deadline after it",
    ),
    _shown(
        "closed-is-believed",
        "a resource was looked for before it is said to be gone",
        "fencing: resources",
        rewritten(timed_resources.close_all, "if seen:", "if False:"),
        SimFocus(("resource-stuck", "switchover"), RESOURCE, 20, fitting=HELD),
    ),
    _shown(
        "rungs-are-believed",
        "each rung of the ladder is verified",
        "fencing: ladder",
        rungs_are_believed,
        SimFocus(CLINGS, COMPONENT, 20, fitting=OUTSIDE),
    ),
    _shown(
        "reset-never-comes",
        "what no kill ends is reset before the kernel's floor",
        "fencing: ladder",
        the_reset_never_comes,
        SimFocus(("undead", "cut-site"), OUTLIVES, 20, fitting=Fitting(reset=True)),
    ),
    Mutant(
        "reset-by-one-clock",
        "the ladder's reset is due when either clock says so",
        "fencing: ladder",
        the_reset_goes_by_one_clock,
        tests=("unit/test_guard_authority.py",),
        why="clocks that part and what no kill ends seldom meet in one schedule (seed 6454)",
    ),
    _shown(
        "watchdog-stops-with-the-kill",
        "the watchdog is stopped last, on proof",
        "fencing: watchdog",
        the_watchdog_stops_with_the_kill,
        SimFocus(("undead", "cut-site"), OUTLIVES, 20, fitting=WATCHED),
    ),
    _shown(
        "required-watchdog-may-miss",
        "nothing begins before a required watchdog counts",
        "fencing: watchdog",
        a_required_watchdog_may_miss,
        SimFocus(("watchdog-missing", "switchover", "agent-crash"), WATCHDOG, 30, fitting=WATCHED),
    ),
    Mutant(
        "host-lacks-nothing",
        "a site that lacks what is required of it is not ready",
        "fencing: watchdog",
        what_a_host_lacks_is_no_matter,
        tests=("unit/test_agent_stories.py::test_what_the_guard_lacks_makes_the_site_not_ready_until_it_is_there",),
        why="the guard refuses its first deadline as well, so that a lease is lost and nothing else",
    ),
    _shown(
        "fed-beyond-the-deadline",
        "last feed + time-out <= deadline",
        "fencing: watchdog",
        fed_beyond_the_deadline,
        SimFocus((), WATCHDOG, 5, fitting=WATCHED),
    ),
    _shown(
        "coarse-watchdog-is-longer",
        "a time-out that a driver rounds up is not taken",
        "fencing: watchdog",
        a_coarse_watchdog_is_longer,
        SimFocus((), WATCHDOG, 30, fitting=WATCHED),
    ),
    Mutant(
        "left-watchdog-counts-on",
        "a watchdog that a former life left counting is stopped once all is proven down",
        "fencing: watchdog",
        a_left_watchdog_counts_on,
        tests=(f"{_WATCHDOG}test_one_that_a_former_life_left_counting_is_stopped_once_everything_is_proven_down",),
        why="a reset that nobody needed costs a start of the machine, and no promise",
    ),
    _shown(
        "components-are-believed",
        "what runs in the active role beside the guard stands against a proof",
        "agent: components",
        components_are_believed,
        SimFocus(CLINGS, COMPONENT, 20, fitting=OUTSIDE),
    ),
    _shown(
        "asked-to-end-is-ended",
        "a component that was ended is looked at again before it counts as down",
        "agent: components",
        what_was_asked_to_end_has_ended,
        SimFocus(CLINGS, COMPONENT, 20, fitting=OUTSIDE),
    ),
    _shown(
        "nobody-looks-at-a-dormant-site",
        "a component that comes up while its site is dormant is found and ended",
        "agent: components",
        nobody_looks_at_a_dormant_site,
        SimFocus(("component-wakes",), COMPONENT, 10, fitting=Fitting(component=ComponentRole.DUAL_ROLE)),
    ),
)
