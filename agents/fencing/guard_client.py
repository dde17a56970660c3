"""The real guard as its agent sees it: a process that it started, a socket, and two pidfds.

Rule: `Down` rests on proof, never on a message alone: the pidfd of the namespace's init is readable only when
everything in the namespace is dead. The death of the guard by the kernel's timer is noticed the same way. Only in
the weak containment (`process-group`) must the guard's own word, or its init's (the record file taken away), do.
A guard that does not answer is not waited for: its handle kills guard and init itself and waits for the proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from agents.fencing import guard_messages, process_table
from agents.fencing.base import (
    Containment,
    Down,
    DownBy,
    GuardError,
    GuardGone,
    GuardSilent,
    GuardStatus,
    HeldResource,
    NotProvenDown,
    Step,
    StepEnd,
    StepResult,
)
from agents.fencing.guard_channel import GuardChannel
from agents.fencing.guard_clock import boottime_ns
from agents.fencing.guard_process import GuardProcess, start_guard_process
from agents.fencing.guard_search import CONTROLLED, call_guard, found_guard
from agents.fencing.init_loop import STEP_KILL_GRACE_NS
from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS
from agents.fencing.line_codec import Message
from agents.fencing.record_file import record_path
from proto.units import NS_PER_MS, NS_PER_S

READY_S = 10.0
STOP_MARGIN_S = 1.0
FENCE_S = 0.5
PROOF_S = 5.0
"""How long a killed namespace may take to be gone before the handle says that it does not know."""
LAST_WORDS_S = 0.25
STEP_MARGIN_S = 5.0
RELEASE_POLL_S = 0.01
ABANDON_MS = 1_000
ATTACH_TRIES = 20
ATTACH_AGAIN_S = 0.05
"""The guard may not have noticed yet that the agent before this one is gone."""


class GuardHandle:
    """Made by `spawn` or `attach`; owned by the agent's loop. Implements agents.fencing.base.Guard."""

    def __init__(self, group: str, record: Path, process: GuardProcess, sock: socket.socket) -> None:
        self.group = group
        self.containment = Containment.PROCESS_GROUP
        self.note = ""
        self.guard_pid = process.pid
        self.init_pid = 0
        self.fencing_cause: str | None = None
        self.lacks: tuple[str, ...] = ()
        self.resources: tuple[HeldResource, ...] = ()
        self._loop = asyncio.get_running_loop()
        self._record = record
        self._process = process
        self._init_pidfd = -1
        self._guard_gone = False
        self._init_gone = False
        self._floor_ns: int | None = None
        self._began_ns: int | None = None
        self._last_words: Message | None = None
        self._ready: asyncio.Future[Message] = self._loop.create_future()
        self._down: asyncio.Future[Down] = self._loop.create_future()
        self._steps: dict[str, asyncio.Future[StepResult]] = {}
        self._former: dict[str, StepResult] = {}
        """Steps that ended under the agent before this one; none when this one started the guard."""
        self._taking_over = False
        self._let_go = False
        self._loop.add_reader(process.pidfd, self._on_guard_gone)
        self._channel = GuardChannel(sock, self._on_message)

    # -- start --------------------------------------------------------------------------------------------

    @classmethod
    async def spawn(
        cls,
        group: str,
        runtime_dir: Path,
        *,
        epoch_finished: int = 0,
        containment: Containment | None = None,
        options: str = "{}",
        wrapper: Sequence[str] = (),
    ) -> GuardHandle:
        """A ready guard, not armed. Refuses while the record of a former guard is there (see leftover.end_leftovers).

        `options` are its resources and rungs (agents/fencing/guard_options.py).
        `wrapper` is put before the interpreter, for example `("setpriv", "--reuid=app")`; it must exec, not fork.
        """
        record = Path(record_path(str(runtime_dir), group))
        if record.exists():  # noqa: ASYNC240 - one stat of a local file
            raise NotProvenDown(f"{record} names a former guard of {group}: end it first (end_leftovers)")
        ours, theirs = socket.socketpair()
        wanted = "auto" if containment is None else containment.value
        arguments = (group, str(runtime_dir), str(theirs.fileno()), str(epoch_finished), wanted, options)
        try:
            process = start_guard_process(runtime_dir, theirs.fileno(), arguments, wrapper)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        handle = cls(group, record, process, ours)
        try:
            ready = await asyncio.wait_for(handle._ready, READY_S)
        except (TimeoutError, GuardError) as error:
            handle._abandon()
            raise GuardGone(f"the guard of {group} did not become ready: {str(error) or 'no answer'}") from None
        except asyncio.CancelledError:
            handle._abandon()
            raise
        handle._adopt(ready)
        return handle

    @classmethod
    async def attach(cls, group: str, runtime_dir: Path) -> GuardHandle:
        """The guard that a former process of this agent left. Raises GuardError, and then it was left as it was."""
        for attempt in range(ATTACH_TRIES):
            sock = call_guard(runtime_dir, group)
            try:
                process = found_guard(runtime_dir, group)
            except GuardGone:
                sock.close()
                raise
            handle = cls(group, Path(record_path(str(runtime_dir), group)), process, sock)
            handle._taking_over = True
            try:
                handle._adopt(await asyncio.wait_for(handle._ready, READY_S))
                await handle._take_over()
            except (TimeoutError, GuardError) as error:
                handle.close()
                if attempt + 1 == ATTACH_TRIES or CONTROLLED not in str(error):
                    raise GuardGone(f"the guard of {group} cannot be taken over: {str(error) or 'no answer'}") from None
            except asyncio.CancelledError:
                handle.close()
                raise
            else:
                return handle
            await asyncio.sleep(ATTACH_AGAIN_S)
        raise GuardGone(f"the guard of {group} stays under another process")

    async def _take_over(self) -> None:
        """What it had under way: ends that come from now on find their step, earlier ones are in the status."""
        status = await self.status()
        self._floor_ns = status.floor_ns
        self._former |= {one.step_id: one for one in status.ended}
        for step_id in status.steps:
            if step_id not in self._former:  # it ended right behind the status, before this line was reached
                self._steps[step_id] = self._loop.create_future()
        self._taking_over = False

    def _adopt(self, ready: Message) -> None:
        self.containment = Containment(ready["containment"])
        self.note = str(ready["note"])
        self.init_pid = int(str(ready["init_pid"]))
        pidfd = process_table.open_process(self.init_pid, int(str(ready["init_started"])))
        if pidfd is None:
            self._init_gone = True
            self._conclude()
            return
        self._init_pidfd = pidfd
        self._loop.add_reader(pidfd, self._on_init_gone)

    def _abandon(self) -> None:
        """Of a guard that never became ready, and so never ran anything."""
        self._kill_guard()
        self._process.ended(ABANDON_MS)
        self.close()

    # -- the seam -----------------------------------------------------------------------------------------

    async def bind(self, holder: str) -> None:
        await self._channel.request({"type": "bind", "holder": holder})

    async def arm(self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        armed = await self._channel.request(
            {
                "type": "deadline",
                "epoch": epoch,
                "term_at_ns": term_at_ns,
                "kill_at_ns": kill_at_ns,
                "deadline_ns": deadline_ns,
            }
        )
        self._floor_ns = deadline_ns - GUARD_FLOOR_LEAD_NS
        self.lacks = guard_messages.words(armed, "lacks")
        self.resources = guard_messages.held_resources(armed)

    async def run_step(self, step: Step) -> StepResult:
        if self._down.done():
            raise GuardGone(f"{step.step_id}: the guard of {self.group} is down")
        done: asyncio.Future[StepResult] = self._loop.create_future()
        bound_s = None
        if step.timeout_ms:
            bound_s = step.timeout_ms / 1_000 + STEP_KILL_GRACE_NS / NS_PER_S + STEP_MARGIN_S
        if step.step_id in self._steps:
            raise GuardError(f"{step.step_id} is running")
        self._steps[step.step_id] = done
        try:
            await self._channel.request(guard_messages.run_message(step))
            return await asyncio.wait_for(done, bound_s)
        except TimeoutError:
            raise GuardSilent(f"{step.step_id}: not ended {bound_s} s after its start") from None
        except asyncio.CancelledError:
            with contextlib.suppress(GuardError):
                await self.cancel_step(step.step_id)
            raise
        finally:
            self._steps.pop(step.step_id, None)

    async def outcome(self, step_id: str) -> StepResult | None:
        running = self._steps.get(step_id)
        if running is None:
            return self._former.get(step_id)
        try:
            return await asyncio.shield(running)  # the init of the namespace keeps its timeout
        except asyncio.CancelledError:
            with contextlib.suppress(GuardError):
                await self.cancel_step(step_id)
            raise
        finally:
            if running.done():
                self._steps.pop(step_id, None)

    def let_go(self) -> None:
        self._let_go = True

    async def cancel_step(self, step_id: str) -> None:
        if self._let_go:
            return
        await self._channel.request({"type": "cancel", "step_id": step_id})

    async def stop(self, grace_ns: int) -> Down:
        return await self._end({"type": "stop", "grace_ms": grace_ns // NS_PER_MS}, grace_ns / NS_PER_S + STOP_MARGIN_S)

    async def fence(self) -> Down:
        return await self._end({"type": "fence"}, FENCE_S)

    async def wait_down(self) -> Down:
        return await asyncio.shield(self._down)

    async def status(self) -> GuardStatus:
        return guard_messages.guard_status(await self._channel.request({"type": "status"}))

    @property
    def is_down(self) -> bool:
        return self._down.done() and self._down.exception() is None

    # -- the end ------------------------------------------------------------------------------------------

    async def _end(self, message: Message, wait_s: float) -> Down:
        """Asks, waits, and when that does not work kills; returns only with the proof."""
        self._began_ns = self._began_ns or boottime_ns()
        with contextlib.suppress(GuardError):
            await self._channel.request(message, min(wait_s, FENCE_S))
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self._down), wait_s)
        if self._down.done():
            return self._down.result()
        self._kill_guard()
        try:
            return await asyncio.wait_for(asyncio.shield(self._down), PROOF_S)
        except TimeoutError:
            raise NotProvenDown(
                f"{self.group}: guard {self.guard_pid} was killed, but its init {self.init_pid} is still there "
                f"after {PROOF_S} s (a process that waits for a device?)"
            ) from None

    def _kill_guard(self) -> None:
        """The kernel then kills the init; that is done here too, in case. The weak init must stay, to clean up."""
        self._process.kill()
        if self.containment is not Containment.PROCESS_GROUP and self._init_pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_pidfd, signal.SIGKILL)

    def _on_message(self, message: Message) -> None:
        kind = message["type"]
        if kind == "ready" and not self._ready.done():
            self._ready.set_result(message)
        elif kind == "step_done":
            done = self._steps.get(str(message["step_id"]))
            if done is not None and not done.done():
                done.set_result(guard_messages.step_result(message))
            elif self._taking_over:
                self._former[str(message["step_id"])] = guard_messages.step_result(message)
        elif kind == "fencing":
            self.fencing_cause = str(message["cause"])
            self._began_ns = self._began_ns or boottime_ns()
        elif kind == "down":
            self._last_words = message
            self._conclude()
        elif kind == "error" and not self._ready.done():
            self._ready.set_exception(GuardGone(f"{message['code']}: {message['text']}"))

    def _on_guard_gone(self) -> None:
        self._loop.remove_reader(self._process.pidfd)
        self._process.ended()
        self._channel.read()
        self._guard_gone = True
        if not self._ready.done():
            log = self._record.with_suffix(".guard.log")
            self._ready.set_exception(GuardGone(f"{self._process.exit_words or 'it ended'}; see {log}"))
        self._conclude()

    def _on_init_gone(self) -> None:
        self._loop.remove_reader(self._init_pidfd)
        self._init_gone = True
        self._channel.read()
        self._conclude()
        if not self._down.done():
            # Dead is proven; the guard may be stopped, so its words about the cause are waited for only briefly.
            self._loop.call_later(LAST_WORDS_S, self._conclude, True)

    def _conclude(self, without_words: bool = False) -> None:
        """Says `down` once the proof is there: the init is gone, and for the weak containment somebody looked."""
        if self._down.done() or not self._init_gone:
            return
        words = self._last_words
        if self.containment is Containment.PROCESS_GROUP and words is None:
            if not self._guard_gone:
                return
            if self._record.exists():
                self._fail(NotProvenDown(f"{self.group}: guard and init died without {self._record} being cleared"))
                return
        if words is None and not (self._guard_gone or without_words):
            return
        if words is not None:
            down = Down(str(words["cause"]), int(str(words["duration_ms"])), DownBy.GUARD, guard_messages.rungs(words))
        else:
            down = Down(self._cause_of_death(), self._duration_ms(), DownBy.KERNEL)
            self._record.unlink(missing_ok=True)
        self._down.set_result(down)
        self._end_steps()

    def _cause_of_death(self) -> str:
        if self._floor_ns is not None and boottime_ns() >= self._floor_ns:
            return "deadline: the kernel's timer ended the guard"
        return self.fencing_cause or "the guard died"

    def _duration_ms(self) -> int:
        return 0 if self._began_ns is None else (boottime_ns() - self._began_ns) // NS_PER_MS

    def _fail(self, error: GuardError) -> None:
        self._down.set_exception(error)
        self._down.exception()  # marks it as seen: nobody needs to be waiting
        self._end_steps()

    def _end_steps(self) -> None:
        for step_id, done in self._steps.items():
            if not done.done():
                done.set_result(StepResult(step_id, StepEnd.GUARD_DOWN))

    async def release(self) -> None:
        """After `Down`: waits (bounded) for the spent guard to exit, reaps it, closes what is open."""
        for _ in range(round(PROOF_S / RELEASE_POLL_S)):
            if self._process.ended():
                break
            await asyncio.sleep(RELEASE_POLL_S)
        else:
            self._kill_guard()
        self.close()

    def close(self) -> None:
        """Lets go of the descriptors. A guard that is armed goes on until its deadline."""
        self._channel.close()
        for pidfd in (self._process.pidfd, self._init_pidfd):
            if pidfd >= 0:
                self._loop.remove_reader(pidfd)
        self._process.close()
        if self._init_pidfd >= 0:
            os.close(self._init_pidfd)
        self._init_pidfd = -1
