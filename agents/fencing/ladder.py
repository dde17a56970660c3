"""What a guard has beside signals and its kernel timer: the rungs that are configured, tried, verified and told.

Rule: each rung notes when it began and what it found; which one ended the platform is the last that had begun when
the proof came. A rung that cannot be had here is named at the guard's start: in `missing` when it is required (the
site is then not ready), else in `notes`. While something may be alive nothing is settled, however long that takes; the
end of addresses and ports is waited for up to SETTLE_NS and then said to be unproven, because the kernel ends them.
The watchdog is stopped last, on proof. The reset is for what no kill ends: it comes before the kernel's floor takes
this process away.
"""

from __future__ import annotations

import os

from agents.fencing.cgroup import Cgroup, outside_cgroup, own_cgroup
from agents.fencing.guard_clock import boottime_ns
from agents.fencing.guard_options import GuardOptions
from agents.fencing.keeper_link import KeeperLink, children_in_own_namespace
from agents.fencing.line_codec import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.fencing.authority import Rungs
    from agents.fencing.timed_resources import TimedResource
    from agents.fencing.watchdog import Watchdog

    Watch = Callable[[int, Callable[[int], None]], None]

SETTLE_NS = 1_000_000_000
"""How long `down` waits for the proof that addresses and ports are gone, after all processes are."""
FIRST_MS = 1_000
"""How long the first deadline of an epoch waits for a required watchdog to be counting."""

TERM, CGROUP, KILL, OUTSIDE, PORTS, WATCHDOG, RESET = "term", "cgroup", "kill", "outside", "ports", "watchdog", "reset"
RESET_NOW = b"b"
EMPTY = "no process is left"


class Ladder:
    """Owned by one warden. `missing` and `notes` are settled when the namespace is built.

    `link` and `now` are for the simulator, which brings a keeper and a clock of its own.
    """

    def __init__(
        self,
        options: GuardOptions | None = None,
        group: str = "",
        *,
        link: Callable[[list[TimedResource], Watchdog | None], KeeperLink] = KeeperLink,
        now: Callable[[], int] = boottime_ns,
    ) -> None:
        self.options = options or GuardOptions()
        self.missing: list[str] = []
        self.notes: list[str] = []
        self.climbed: list[tuple[str, int, str]] = []
        """Rungs in their order: name, when on BOOTTIME, what was found."""
        resources, watchdog = self.options.resources(group), self.options.watchdog()
        self.keeper = link(resources, watchdog) if resources or watchdog else None
        self._group = group
        self._now = now
        self._watchdog_name = "" if watchdog is None else watchdog.name
        self._watch: Watch | None = None
        self._forget: Callable[[int], None] | None = None
        self._own: Cgroup | None = None
        self._outside: list[Cgroup] = []
        self._deadline_ns = 0
        self._epoch = 0
        self._closing = False
        self._settle_by_ns = 0

    # -- the guard's start --------------------------------------------------------------------------------

    def before_namespace(self, watch: Watch, forget: Callable[[int], None]) -> None:
        """While the guard's children still belong to the host."""
        self._watch, self._forget = watch, forget
        if self.keeper is not None:
            for words in self.keeper.prepare():
                self._lacks(WATCHDOG if self._of_watchdog(words) else PORTS, words)
            self._listen()
        if self.options.outside:
            self._try(OUTSIDE, self._find_outside)
        if self.options.reset_trigger and not self._can_pull(self.options.reset_trigger):
            self._lacks(RESET, f"reset: {self.options.reset_trigger} cannot be written")

    def bind(self, init_pid: int) -> None:
        """The init may not run anything yet, so everything that it ever starts inherits its group."""
        if self.options.cgroup:
            self._try(CGROUP, lambda: self._enclose(init_pid))
        why = children_in_own_namespace() if self.keeper is not None else ""
        if why:
            self.notes.append(f"a lost keeper cannot be replaced: {why}")

    def _try(self, rung: str, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self._lacks(rung, f"{rung}: {error.strerror or error}")

    def _lacks(self, rung: str, words: str) -> None:
        (self.missing if rung == PORTS or rung in self.options.required else self.notes).append(words)

    def _enclose(self, init_pid: int) -> None:
        made = own_cgroup(self._group)
        made.add(init_pid)
        self._own = made

    def _find_outside(self) -> None:
        self._outside = [outside_cgroup(path) for path in self.options.outside]

    def children(self) -> tuple[int, ...]:
        """Processes of the guard's own, which a sweep of what it protected must spare."""
        return () if self.keeper is None or not self.keeper.pid else (self.keeper.pid,)

    def private_fds(self) -> list[int]:
        return [] if self.keeper is None else self.keeper.fds()

    def _listen(self) -> None:
        if self.keeper is not None and self._watch is not None and self.keeper.pid:
            self._watch(self.keeper.event_fd, self._on_keeper)

    def _on_keeper(self, _events: int) -> None:
        keeper, forget = self.keeper, self._forget
        if keeper is None or forget is None:
            return
        fd = keeper.event_fd
        if not keeper.read():
            forget(fd)

    # -- while a lease runs -------------------------------------------------------------------------------

    def renewed(self, rungs: Rungs) -> str:
        """The guard took this deadline. '' or why the epoch must not begin: a required watchdog does not count."""
        first = rungs.epoch != self._epoch
        self._epoch, self._deadline_ns = rungs.epoch, rungs.deadline_ns
        keeper = self.keeper
        if keeper is None:
            return ""
        self._ask(lambda: keeper.extend(rungs.epoch, rungs.kill_at_ns, rungs.deadline_ns))
        if not first or WATCHDOG not in self.options.required:
            return ""
        fd = keeper.event_fd
        if not keeper.wait(FIRST_MS):
            if keeper.pid == 0 and self._forget is not None:
                self._forget(fd)
            return f"{self._watchdog_name}: its keeper does not answer"
        return next(filter(self._of_watchdog, keeper.troubles()), "")

    def _ask(self, request: Callable[[], None]) -> None:
        """Of a keeper that may have to be forked anew."""
        gone = self.keeper is not None and self.keeper.pid == 0
        request()
        if gone:
            self._listen()  # to nothing, when it could not be forked

    # -- the end ------------------------------------------------------------------------------------------

    def began(self, rung: str) -> bool:
        """True the first time."""
        if any(name == rung for name, _at, _found in self.climbed):
            return False
        self.climbed.append((rung, self._now(), ""))
        return True

    def found(self, rung: str, words: str) -> None:
        """The first words about it stay."""
        self.climbed = [(name, at, old or (words if name == rung else "")) for name, at, old in self.climbed]

    def kill(self) -> None:
        """With the guard's kill of the namespace, repeated until `settled`."""
        if self._own is not None:
            self._kill_group(CGROUP, self._own)
        for one in self._outside:
            self._kill_group(OUTSIDE, one)
        keeper = self.keeper
        if keeper is not None and not self._closing:
            self._closing = True
            if self.options.addresses or self.options.ports:
                self.began(PORTS)
            self._ask(keeper.close)

    def _kill_group(self, rung: str, group: Cgroup) -> None:
        try:
            if group.populated():
                self.began(rung)
                group.kill()
        except OSError as error:
            self.found(rung, str(error.strerror or error))

    def _may_be_alive(self, rung: str, group: Cgroup) -> bool:
        """What cannot be looked at is not proven."""
        try:
            return group.populated()
        except OSError as error:
            self.began(rung)
            self.found(rung, str(error.strerror or error))
            return True

    def settled(self) -> bool:
        """The namespace is empty. True when the rest is proven too, or, of resources, was waited for long enough."""
        groups = [(OUTSIDE, one) for one in self._outside] + ([] if self._own is None else [(CGROUP, self._own)])
        if any(self._may_be_alive(rung, group) for rung, group in groups):
            return False
        for rung in (CGROUP, OUTSIDE):
            self.found(rung, EMPTY)
        if self.keeper is None:
            return self._tidy()
        now = self._now()
        self._settle_by_ns = self._settle_by_ns or now + SETTLE_NS
        if self.keeper.closed:
            self.found(PORTS, "closed")
        elif now < self._settle_by_ns:
            return False
        if self._watchdog_name and not self._watchdog_stopped(self.keeper) and now < self._settle_by_ns:
            return False
        words = "; ".join(self.keeper.problems) or "its keeper does not answer"
        for rung in (PORTS, WATCHDOG):
            self.found(rung, f"not proven: {words}")
        return self._tidy()

    def _watchdog_stopped(self, keeper: KeeperLink) -> bool:
        if self.began(WATCHDOG):
            self._ask(keeper.finish)
        if keeper.finished and not keeper.problems:
            self.found(WATCHDOG, "stopped")
            return True
        return False

    def _tidy(self) -> bool:
        """What was frozen is thawed, or the next life of a unit outside would be born frozen."""
        try:
            for one in self._outside:
                one.thaw()
        except OSError as error:
            self.notes.append(f"{OUTSIDE}: not thawed: {error.strerror}")
        if self._own is not None:
            self._own.remove()
        return True

    def reset_if_due(self, now_ns: int) -> None:
        """Everything was killed and something is still there: only a reset ends it."""
        trigger, due_ns = self.options.reset_trigger, self._deadline_ns - self.options.reset_before_ns
        if not trigger or not self._deadline_ns or now_ns < due_ns or not self.began(RESET):
            return
        try:
            self._pull(trigger)
        except OSError as error:
            self.found(RESET, str(error.strerror))

    def _can_pull(self, trigger: str) -> bool:
        return os.access(trigger, os.W_OK)

    def _pull(self, trigger: str) -> None:
        fd = os.open(trigger, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, RESET_NOW)
        finally:
            os.close(fd)

    # -- what is told -------------------------------------------------------------------------------------

    def lacks(self) -> list[str]:
        """What is required and missing, and what could not be prolonged the last time."""
        troubles = [] if self.keeper is None else self.keeper.troubles()
        if WATCHDOG not in self.options.required:
            troubles = [words for words in troubles if not self._of_watchdog(words)]
        return self.missing + troubles

    def _of_watchdog(self, words: str) -> bool:
        return bool(self._watchdog_name) and words.startswith(f"{self._watchdog_name}:")

    def held(self) -> Message:
        """With every answer to a renewal: of the one before, because nothing here waits for the kernel."""
        lacks: list[object] = [*self.lacks()]
        return {"lacks": lacks, "resources": [] if self.keeper is None else self.keeper.held}

    def status(self) -> Message:
        return {
            "missing": self.missing,
            "ladder": self.rungs_to_be_had(),
            **self.held(),
            "keepers_lost": 0 if self.keeper is None else self.keeper.lost,
        }

    def rungs_to_be_had(self) -> list[str]:
        """In the order in which they are climbed; why one cannot be had stands in `missing` and in `notes`."""
        lacking = [words.split(":")[0] for words in self.missing + self.notes]
        ports = bool(self.options.addresses or self.options.ports)
        watchdog = bool(self._watchdog_name) and self._watchdog_name not in lacking
        reset = bool(self.options.reset_trigger) and RESET not in lacking
        had = (
            (TERM, True),
            (CGROUP, self._own is not None),
            (KILL, True),
            (OUTSIDE, bool(self._outside)),
            (PORTS, ports),
            (WATCHDOG, watchdog),
            (RESET, reset),
        )
        return [name for name, there in had if there]
