"""The part that every guard has in common: authority, kernel timer, namespace and ladder, in one thread's loop.

Rule: rung by rung, each above the floor. term_at: TERM to everything protected. kill_at: SIGKILL of the init.
Verified: the init was reaped, which proves its namespace empty; only then is the kernel's timer disarmed and
`down` said. What this process does not manage in time, the timer ends together with this process.
The loop acts alone: a peer that is stopped, dead or gone changes nothing, its lease just runs out.
A front (agent's guard, exec guard) owns the conversation; the warden never writes to anybody.
"""

from __future__ import annotations

import os
import select
import time

from agents.fencing import containment, kernel_calls, privileges, process_table, record_file
from agents.fencing.authority import RUNG_KILL, RUNG_NONE, Authority, Refused, Rungs
from agents.fencing.guard_clock import Clocks, boottime_ns, read_clocks
from agents.fencing.init_link import InitLink, fork_init
from agents.fencing.kernel_timer import KernelTimer
from agents.fencing.ladder import KILL, TERM, Ladder
from agents.fencing.line_codec import Message
from agents.fencing.step_start import StepRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLOCK_CHECK_MS = 500
"""Clocks are compared at least this often while something may run."""
KILL_RETRY_MS = 5
FLUSH_RETRY_MS = 10
STEPS_MAX = 64

DORMANT = "dormant"
ARMED = "armed"
STOPPING = "stopping"
FENCING = "fencing"
KILLING = "killing"
DOWN = "down"


class Front:
    """What a warden tells its front; all of it returns at once."""

    def step_done(self, message: Message) -> None:
        """A step ended, or could not be started."""

    def emptied(self) -> None:
        """Nothing runs in the namespace any more, as `await_empty` asked to be told."""

    def fencing(self, cause: str) -> None:
        """The ladder has begun without having been asked."""

    def down(self, cause: str, duration_ms: int) -> None:
        """Everything is verified dead; the loop ends after this."""

    def tick(self) -> int | None:
        """Called at every wake-up; returns in how many milliseconds it wants the next one."""


class Warden:
    """Owned by the one thread of a guard process."""

    def __init__(
        self, front: Front, record_path: str, epoch_finished: int, wanted: str | None, ladder: Ladder | None = None
    ) -> None:
        self.front = front
        self.ladder = ladder or Ladder()
        self.record_path = record_path
        self.wanted = wanted
        self.authority = Authority(epoch_finished)
        self.timer = KernelTimer()
        self.phase = DORMANT
        self.containment = ""
        self.note = ""
        self.privileges: dict[str, bool] = {}
        self.steps: set[str] = set()
        self.private_fds: list[int] = []
        self.inherited: StepRequest | None = None
        self.init: InitLink | None = None
        self._poller = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._cause = ""
        self._ending_since_ns = 0
        self._kill_at_ns = 0
        self._empty = False
        """The init was reaped: nothing protected is alive."""

    # -- the namespace ------------------------------------------------------------------------------------

    def build(self) -> InitLink:
        """Namespace and init, released only after the record is on disk. Once in a guard's life."""
        self.ladder.before_namespace(self.watch, self.forget)
        self.private_fds += self.ladder.private_fds()
        self.containment, why = containment.enter(self.wanted)
        self.note = containment.NOTES[self.containment]
        if why:
            self.note += f" ({why})"
        init = fork_init(self.containment, self.record_path, self.private_fds, self.inherited)
        self.init = init
        self.watch(init.pidfd, self._on_init_end)
        init.await_bound()
        self.ladder.bind(init.pid)
        for missing in (init.missing, *self.ladder.notes):
            self.note += f"; {missing}" if missing else ""
        self.privileges = privileges.claim()
        kernel_calls.prctl(kernel_calls.PR_SET_DUMPABLE, 0)
        self._write_record()
        self.watch(init.event_fd, self._on_init_events)
        init.release()
        return init

    def _write_record(self) -> None:
        if self.record_path and self.init is not None:
            record = record_file.GuardRecord(
                process_table.boot_id(),
                self.containment,
                (os.getpid(), process_table.start_time(os.getpid()) or 0),
                (self.init.pid, self.init.started),
                self.authority.highest_epoch,
            )
            record_file.write_atomic(self.record_path, record.to_bytes())

    # -- requests -----------------------------------------------------------------------------------------

    def arm(self, new: Rungs) -> None:
        """Raises Refused; the clocks are judged first, so that no renewal hides what they say."""
        now = read_clocks()
        self._climb(now)
        self.authority.check(new, now)
        first_of_epoch = new.epoch > self.authority.highest_epoch
        self.timer.arm(new.floor_ns)
        self.authority.take(new, now)
        self.phase = ARMED
        unfit = self.ladder.renewed(new)
        if unfit:
            self.fence(unfit)
            raise Refused("unfit", unfit)
        if first_of_epoch:
            self._note_epoch()

    def _note_epoch(self) -> None:
        """The epoch in the record informs people; a full disk must not end a healthy platform over it."""
        try:
            self._write_record()
        except OSError as error:
            self.note += f"; epoch {self.authority.highest_epoch} is not in the record: {error.strerror}"

    def run_step(self, message: Message) -> None:
        """Hands a checked `run` message to the init; raises Refused unless the lease is armed and not in its end."""
        self._climb(read_clocks())
        step_id = str(message["step_id"])
        if self.phase != ARMED or self.init is None:
            raise Refused("not-armed", f"nothing runs while the guard is {self.phase}")
        if step_id in self.steps:
            raise Refused("duplicate-step", f"{step_id} is running")
        if len(self.steps) >= STEPS_MAX:
            raise Refused("too-many-steps", f"{STEPS_MAX} steps are running")
        if not self.init.commands.send(message):
            raise Refused("init-stuck", "the namespace's init does not read its requests")
        self.steps.add(step_id)

    def tell_step(self, message: Message) -> None:
        """`cancel` or `signal` of a running step."""
        if message["step_id"] not in self.steps or self.init is None:
            raise Refused("unknown-step", f"{message['step_id']} is not running")
        self.init.commands.send(message)

    def await_empty(self) -> None:
        """The front hears of it when everything in the namespace has ended by itself."""
        if self.init is not None:
            self.init.commands.send({"type": "watch"})

    def stop(self, grace_ms: int, cause: str) -> None:
        """Graceful within `grace_ms` and the lease; a second stop may only bring the kill nearer."""
        if self.phase in (KILLING, DOWN):
            return
        kill_at = boottime_ns() + grace_ms * 1_000_000
        if self.phase in (STOPPING, FENCING):
            self._kill_at_ns = min(self._kill_at_ns, kill_at)
            return
        self._begin(STOPPING, cause, kill_at)

    def fence(self, cause: str) -> None:
        if self.phase in (KILLING, DOWN):
            return
        if self.phase not in (STOPPING, FENCING):
            self._begin(FENCING, cause, 0)
        self._kill()

    # -- the ladder ---------------------------------------------------------------------------------------

    def _begin(self, phase: str, cause: str, kill_at_ns: int) -> None:
        self.authority.end()
        self.phase = phase
        self._cause = cause
        self._ending_since_ns = boottime_ns()
        self._kill_at_ns = kill_at_ns
        if self.init is None:
            self._finish()
        elif kill_at_ns > self._ending_since_ns:
            self.ladder.began(TERM)
            self.init.commands.send({"type": "term"})

    def _climb(self, now: Clocks) -> None:
        """Does what is due now. Called at every wake-up and before every request."""
        rung, cause = self.authority.rung_due(now)
        if rung != RUNG_NONE and self.phase == ARMED and self.authority.rungs is not None:
            self._begin(FENCING, cause, 0 if rung == RUNG_KILL else self.authority.rungs.kill_at_ns)
            self.front.fencing(cause)
        kill_due = rung == RUNG_KILL or now.boot_ns >= self._kill_at_ns
        if self.phase == KILLING or (self.phase in (STOPPING, FENCING) and kill_due):
            self._kill()
        if self.phase == KILLING:
            self.ladder.reset_if_due(self.authority.counted_ns(now))

    def _kill(self) -> None:
        if self.phase == DOWN:
            return
        self.phase = KILLING
        self.ladder.kill()
        if self._empty:
            self._settle()
        elif self.init is not None:
            self.ladder.began(KILL)
            self.init.kill()

    def _on_init_end(self, _events: int) -> None:
        init = self.init
        if init is None or not init.try_wait():
            return
        self.forget(init.pidfd)
        self._drain_events()
        if self.phase in (DORMANT, ARMED):
            self._begin(KILLING, "the namespace's init ended by itself", 0)
            self.front.fencing(self._cause)
        if self.containment == containment.PROCESS_GROUP:
            self._sweep()
        self._empty = True
        self._kill()

    def _settle(self) -> None:
        """No process is left. What else the ladder holds is proven gone, or was waited for long enough."""
        if self.ladder.settled():
            self._finish()

    def _sweep(self) -> None:
        """Without a namespace the init's end proves nothing: what is left below us is killed and reaped here."""
        while not process_table.kill_descendants(os.getpid(), self.ladder.children()):
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                continue
            time.sleep(KILL_RETRY_MS / 1_000)

    def _finish(self) -> None:
        self.phase = DOWN
        self.timer.disarm()
        if self.record_path:
            record_file.remove(self.record_path)
        self.front.down(self._cause, (boottime_ns() - self._ending_since_ns) // 1_000_000)

    def rungs_climbed(self) -> list[list[object]]:
        """Name, milliseconds after the end began, what was found; for the status and the last words."""
        return [[name, (at - self._ending_since_ns) // 1_000_000, found] for name, at, found in self.ladder.climbed]

    # -- what the init says -------------------------------------------------------------------------------

    def _on_init_events(self, events: int) -> None:
        if not self._drain_events() and events & (select.POLLHUP | select.POLLERR) and self.init is not None:
            self.forget(self.init.event_fd)

    def _drain_events(self) -> bool:
        if self.init is None:
            return False
        messages = self.init.read_events()
        for message in messages:
            if message["type"] == "step_done":
                self.steps.discard(str(message["step_id"]))
                self.front.step_done(message)
            elif message["type"] == "empty" and self.phase in (STOPPING, FENCING):
                self._kill()
            elif message["type"] == "empty" and self.phase == ARMED:
                self.front.emptied()
        return bool(messages)

    # -- the loop -----------------------------------------------------------------------------------------

    def watch(self, fd: int, handler: Callable[[int], None], events: int = select.POLLIN) -> None:
        self._handlers[fd] = handler
        self._poller.register(fd, events)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def run(self) -> None:
        """Until everything is verified down, or there never was anything and the front says so."""
        while self.phase != DOWN:
            front_ms = self.front.tick()
            for fd, events in self._poller.poll(self._timeout_ms(front_ms)):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            if self.phase != DOWN:
                self._climb(read_clocks())
            if self.init is not None:
                self.init.commands.flush()

    def _timeout_ms(self, front_ms: int | None) -> int | None:
        waits: list[int] = [] if front_ms is None else [front_ms]
        if self.phase == KILLING:
            waits.append(KILL_RETRY_MS)
        if self.phase in (STOPPING, FENCING):
            waits.append(max(0, self._kill_at_ns - boottime_ns()) // 1_000_000 + 1)
        if self.authority.rungs is not None:
            rung_ns = self.authority.next_rung_ns(read_clocks())
            waits += [CLOCK_CHECK_MS, (rung_ns or 0) // 1_000_000 + 1]
        if self.init is not None and self.init.commands.waiting:
            waits.append(FLUSH_RETRY_MS)
        return min(waits) if waits else None
