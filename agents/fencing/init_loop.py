"""The init of a guard's namespace: starts steps on request, reaps everything, reports exits, and dies with its guard.

Rule: it is a fork of the guard (shares its pages), never execs, and is single-threaded. It runs nothing before the
handshake: it sets PR_SET_PDEATHSIG, says so, and goes on only when the guard answers. An answer written after that
message proves that the guard lived after the signal was set; getppid cannot (it is 0 across PID namespaces), and
without the answer a guard that died in between would leave an orphan that nothing ends.
Without a namespace (`process-group`) it must outlive its guard for a moment: it kills what it can find and takes
the record file away only when nothing is left, which for a subreaper is "no child".
"""

from __future__ import annotations

import os
import select
import signal
import time

from agents.fencing import containment, kernel_calls, privileges, process_table
from agents.fencing.line_codec import LineReader, Message, decode, encode
from agents.fencing.step_start import Started, StepRequest, start

STEP_KILL_GRACE_NS = 1_000_000_000
"""Between TERM and KILL of a step that timed out or was cancelled."""
KILL_ROUND_S = 0.005


class Running:
    """A step between its start and its report."""

    __slots__ = ("ends_ns", "request", "started", "why")

    def __init__(self, request: StepRequest, started: Started) -> None:
        self.request = request
        self.started = started
        self.why = ""
        self.ends_ns = _now() + request.timeout_ms * 1_000_000 if request.timeout_ms else None


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def write_line(fd: int, message: Message) -> None:
    """Blocking on purpose: a guard that does not read is stopped, and then the deadline decides."""
    line = encode(message)
    while line:
        line = line[os.write(fd, line) :]


class Init:
    """Owned by the init's one thread."""

    def __init__(self, kind: str, command_fd: int, event_fd: int, record_path: str) -> None:
        self.kind = kind
        self.command_fd = command_fd
        self.event_fd = event_fd
        self.record_path = record_path
        self.reader = LineReader()
        self.steps: dict[int, Running] = {}
        self.reset_oom = False
        self.ending = False
        self.empty_told = False
        self.watching = False
        self.wake_fd = -1
        self.inherited: StepRequest | None = None
        """A step known before the fork (exec guard): its arguments and environment need no message."""

    def run(self) -> None:
        self._prepare()
        poller = select.poll()
        poller.register(self.command_fd, select.POLLIN)
        poller.register(self.wake_fd, select.POLLIN)
        while True:
            for fd, _events in poller.poll(self._timeout_ms()):
                if fd == self.wake_fd:
                    os.read(fd, 4_096)
                elif not self._read_commands():
                    self._guard_is_gone()
                    return
            self._reap()
            self._expire_steps()

    def _prepare(self) -> None:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self.wake_fd, write_end = os.pipe()
        os.set_blocking(write_end, False)
        os.set_blocking(self.wake_fd, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        missing = containment.furnish_init(self.kind)
        privileges.claim_realtime()  # a killed init must be scheduled before the kernel ends its namespace
        kernel_calls.prctl(kernel_calls.PR_SET_DUMPABLE, 0)
        if self.kind != containment.PROCESS_GROUP:
            kernel_calls.prctl(kernel_calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        write_line(self.event_fd, {"type": "bound", "missing": missing})
        early = self._await_release()
        # Only where /proc is our own can a step put its score back; elsewhere the init stays unprotected.
        if not missing and self.kind == containment.PID_NAMESPACE:
            self.reset_oom = privileges.set_oom_score(privileges.OOM_SCORE_GUARD)
        for line in early:
            self._obey(decode(line))

    def _await_release(self) -> list[bytes]:
        """Blocks until the guard's answer, returns what came behind it; an ended pipe means a dead guard."""
        while True:
            data = os.read(self.command_fd, 64)
            if not data:
                os._exit(0)
            lines = self.reader.feed(data)
            if lines:
                return lines[1:]

    def _timeout_ms(self) -> int | None:
        ends = [step.ends_ns for step in self.steps.values() if step.ends_ns is not None]
        return max(0, (min(ends) - _now()) // 1_000_000 + 1) if ends else None

    def _read_commands(self) -> bool:
        data = os.read(self.command_fd, 65_536)
        for line in self.reader.feed(data):
            self._obey(decode(line))
        return bool(data)

    def _obey(self, message: Message) -> None:
        kind = message["type"]
        if kind == "run":
            self._start(message)
        elif kind == "cancel":
            self._cancel(str(message["step_id"]))
        elif kind == "signal":
            self._signal_step(str(message["step_id"]), int(str(message["number"])))
        elif kind == "watch":
            self.watching = True
        elif kind == "term":
            self.ending = True
            self.empty_told = False
            self._signal_everything(signal.SIGTERM)

    def _start(self, message: Message) -> None:
        inherited = self.inherited
        request = inherited if inherited and inherited.step_id == message["step_id"] else request_of(message)
        weak = self.kind == containment.PROCESS_GROUP
        try:
            started = start(request, die_with_parent=weak, reset_oom=self.reset_oom)
        except OSError as error:
            self._report(request.step_id, error=f"cannot start: {error.strerror}: {error.filename or ''}")
            return
        self.steps[started.pid] = Running(request, started)

    def _cancel(self, step_id: str) -> None:
        for pid, step in self.steps.items():
            if step.request.step_id == step_id and not step.why:
                self._end_step(pid, step, "cancelled")

    def _signal_step(self, step_id: str, number: int) -> None:
        for pid, step in self.steps.items():
            if step.request.step_id == step_id:
                process_table.signal_all([pid], number)

    def _end_step(self, pid: int, step: Running, why: str) -> None:
        step.why = why
        step.ends_ns = _now() + STEP_KILL_GRACE_NS
        process_table.signal_all([-pid], signal.SIGTERM)

    def _expire_steps(self) -> None:
        now = _now()
        for pid, step in self.steps.items():
            if step.ends_ns is None or now < step.ends_ns:
                continue
            if step.why:
                process_table.signal_all([-pid], signal.SIGKILL)
                step.ends_ns = None
            else:
                self._end_step(pid, step, "timed_out")

    def _signal_everything(self, number: int) -> None:
        """In a namespace -1 is everything in it but us; elsewhere it would be the whole machine."""
        if self.kind == containment.PROCESS_GROUP:
            process_table.signal_all(process_table.descendants(os.getpid()), number)
        else:
            process_table.signal_all([-1], number)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if (self.ending or self.watching) and not self.empty_told:
                    self.empty_told = True
                    write_line(self.event_fd, {"type": "empty"})
                return
            if pid == 0:
                return
            step = self.steps.pop(pid, None)
            if step is not None:
                code = os.waitstatus_to_exitcode(status)
                self._report(step.request.step_id, code, step.started.read_error(), step.why)

    def _report(self, step_id: str, code: int | None = None, error: str = "", why: str = "") -> None:
        message: Message = {"type": "step_done", "step_id": step_id, "timed_out": why == "timed_out"}
        message["cancelled"] = why == "cancelled"
        message["exit_code"] = code if code is not None and code >= 0 and not error else None
        message["signal"] = -code if code is not None and code < 0 else None
        message["error"] = error or None
        write_line(self.event_fd, message)

    def _guard_is_gone(self) -> None:
        """Its pipe ended. In a namespace the kernel's signal is on its way; without one we are all there is."""
        if self.kind != containment.PROCESS_GROUP:
            return
        while True:
            process_table.kill_descendants(os.getpid(), ())
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
            time.sleep(KILL_ROUND_S)
        if self.record_path:
            os.unlink(self.record_path)


def request_of(message: Message) -> StepRequest:
    """From a message that the guard has checked; the casts only tell the type checker what is known."""
    argv, env, log_path = message["argv"], message["env"], message["log_path"]
    if not isinstance(argv, list) or not isinstance(env, dict):
        raise TypeError("a run message that its guard did not check")
    return StepRequest(
        step_id=str(message["step_id"]),
        argv=argv,
        env=env,
        cwd=str(message["cwd"]),
        log_path=None if log_path is None else str(log_path),
        timeout_ms=int(str(message["timeout_ms"])),
    )
