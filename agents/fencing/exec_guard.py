"""`site-agent exec`: runs one unmodified program only while the lease is held, and has it dead by the deadline.

Rule: it is a guard like the agent's own (same warden, timer, namespace and ladder) that gets its deadlines over the
agent's local socket. Nothing runs before the first deadline. When the program ends, the rest of its namespace is
ended too, as a container would be. The agent's absence is tolerated while a lease runs, and before the first one
for `--wait` seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from agents.fencing import exec_options, life_lock, local_protocol, message_fields, pid_one, record_file
from agents.fencing.agent_link import RETRY_S, AgentLink
from agents.fencing.authority import Refused
from agents.fencing.containment import NOTES, PROCESS_GROUP
from agents.fencing.line_codec import Message
from agents.fencing.step_start import NOT_STARTED, StepRequest
from agents.fencing.warden import ARMED, DORMANT, Front, Warden

EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_OSERR = 71
EX_TEMPFAIL = 75
EX_CONFIG = 78
SIGNALLED = 128

STEP_ID = "command"
END_GRACE_MS = 2_000
"""For what the program left behind in its namespace when it ended."""
LAST_WORDS_S = 0.2
INSTANCE_BYTES = 7
FORWARDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
FORKED_GRACE_MS = 60_000
"""For what went into the background, after TERM; the lease and the supervisor may end it sooner."""


def say(text: str) -> None:
    os.write(2, f"site-agent exec: {text}\n".encode())


def command_environment(env: dict[str, str], own_pid: int) -> dict[str, str]:
    """Without what a supervisor addressed to our process id: the command has another one, and would ignore it."""
    if env.get("WATCHDOG_PID") == str(own_pid):
        del env["WATCHDOG_PID"]  # without it the command keeps the supervisor's watchdog fed, as it was meant to
    return env


def token(group: str, epoch: int) -> dict[str, str]:
    """What the command hands to whatever it changes elsewhere, as a step does."""
    return {"THIRDSITE_GROUP": group, "THIRDSITE_EPOCH": str(epoch)}


class Life(pid_one.Work):
    """The names of one guard after the other; a guard is spent when it went down.

    `instance` names it to the agent where its process id means nothing: from another container.
    """

    def __init__(self, options: exec_options.ExecOptions) -> None:
        self._options = options
        self._lock_fd = -1
        self.record = ""
        self.instance = 0

    def begin(self) -> None:
        """Raises OSError."""
        directory = os.path.dirname(self._options.socket_path) or "."
        self.instance = int.from_bytes(os.urandom(INSTANCE_BYTES), "big")
        self.record = f"{directory}/{self._options.group}.exec-{self.instance:x}.guard"
        with contextlib.suppress(FileNotFoundError):  # the agent, which makes the directory, is not there yet
            self.hold()

    def hold(self) -> None:
        """At the latest before anything runs. Raises OSError."""
        if self._lock_fd < 0:
            self._lock_fd = life_lock.hold(self.record)

    def ended(self, code: int, *, empty: bool) -> bool:
        if empty:
            record_file.remove(self.record)
            life_lock.remove(self.record)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
        return self._options.again and code in (EX_TEMPFAIL, SIGNALLED + signal.SIGKILL)


class ExecFront(Front):
    """Owns the link to the agent and the exit code."""

    def __init__(self, options: exec_options.ExecOptions, life: Life) -> None:
        self.options = options
        self.life = life
        self.exit_code = EX_TEMPFAIL
        self.link = AgentLink(options.socket_path)
        self._env = command_environment(dict(os.environ), os.getpid())
        self.warden = Warden(self, life.record, 0, None)
        self.warden.inherited = StepRequest(
            step_id=STEP_ID,
            argv=options.argv(),
            program=options.command[0],
            env=self._env,
            cwd=os.getcwd(),
            log_path=None,
            timeout_ms=0,
        )
        self._said_waiting = False
        self._wake_fd, self._wake_write_fd = os.pipe()

    def serve(self) -> int:
        for fd in (self._wake_fd, self._wake_write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_write_fd, warn_on_full_buffer=False)
        for number in FORWARDED:
            signal.signal(number, lambda _number, _frame: None)
        self.warden.watch(self._wake_fd, self._on_signals)
        self.warden.run()
        ends = time.monotonic() + LAST_WORDS_S
        while self.link.flush() and time.monotonic() < ends:
            time.sleep(0.01)
        self.link.close()
        return self.exit_code

    # -- the agent ----------------------------------------------------------------------------------------

    def tick(self) -> int | None:
        if self.link.sock is None:
            fd = self.link.try_connect()
            if fd >= 0:
                self._greet(fd)
            elif self.warden.phase == DORMANT and self._lost_s() >= self.options.wait_s:
                say(f"no agent at {self.options.socket_path} within {self.options.wait_s:g} s")
                self._leave(EX_UNAVAILABLE, "no agent")
                return 0
            return round(RETRY_S * 1_000)
        return round(RETRY_S * 1_000) if self.link.flush() else None

    def _lost_s(self) -> float:
        return 0.0 if self.link.lost_since is None else time.monotonic() - self.link.lost_since

    def _greet(self, fd: int) -> None:
        self.warden.watch(fd, lambda _events: self._on_agent(fd))
        authority = self.warden.authority
        deadline_ns = authority.rungs.deadline_ns if authority.rungs is not None else 0
        self.link.send(
            local_protocol.register(
                self.options.group, os.getpid(), authority.highest_epoch, deadline_ns, self.life.instance
            )
        )
        if self.warden.init is not None:
            self._tell_running()

    def _tell_running(self) -> None:
        init, rungs = self.warden.init, self.warden.authority.rungs
        if init is not None and rungs is not None:
            self.link.send(local_protocol.running((init.pid, init.started), self.warden.containment, rungs.epoch))

    def _on_agent(self, fd: int) -> None:
        messages = self.link.read()
        if self.link.sock is None:
            self.warden.forget(fd)
        for message in messages:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        kind = message["type"]
        if kind == "registered" and self.warden.phase == DORMANT and not self._said_waiting:
            self._said_waiting = True
            say(f"waiting for the lease of {self.options.group}")
        elif kind == "deadline":
            self._on_deadline(message)
        elif kind == "stop" and self.warden.phase != DORMANT:
            self.exit_code = EX_TEMPFAIL
            self.warden.stop(message_fields.integer(message, "grace_ms", 0, message_fields.GRACE_MS_MAX), "stop")
        elif kind == "error":
            say(f"the agent refuses: {message['text']}")
            if self.warden.phase == DORMANT:
                self._leave(EX_CONFIG, "refused by the agent")

    def _on_deadline(self, message: Message) -> None:
        rungs = message_fields.rungs(message)
        try:
            self.warden.arm(rungs)
        except Refused as refused:
            self.link.send({"type": "refused", "code": refused.code, "text": refused.text})
            return
        if self.warden.init is None:
            self._begin()
        self.link.send({"type": "armed", "epoch": rungs.epoch, "deadline_ns": rungs.deadline_ns})

    def _begin(self) -> None:
        link_fd = self.link.sock.fileno() if self.link.sock is not None else -1
        self.warden.private_fds += [fd for fd in (link_fd, self._wake_fd, self._wake_write_fd) if fd >= 0]
        try:
            self.life.hold()
            if self.warden.authority.rungs is not None:
                self._env |= token(self.options.group, self.warden.authority.rungs.epoch)
            self.warden.build()
            if self.warden.containment == PROCESS_GROUP:
                say(NOTES[PROCESS_GROUP])
            self.warden.run_step({"type": "run", "step_id": STEP_ID})
        except OSError as error:
            say(f"cannot contain the command: {error}")
            self._leave(EX_OSERR, "no containment")
        except Refused as refused:
            say(f"the lease ended before the command began: {refused.text}")
            self.warden.fence("the lease ended before the command began")
        else:
            self._tell_running()

    # -- signals and ends ---------------------------------------------------------------------------------

    def _on_signals(self, _events: int) -> None:
        for number in os.read(self._wake_fd, 64):
            if number not in FORWARDED:
                continue
            if self.warden.phase == DORMANT:
                self._leave(SIGNALLED + number, "signal while waiting")
                return
            if self.warden.phase == ARMED and STEP_ID in self.warden.steps:
                self.warden.tell_step({"type": "signal", "step_id": STEP_ID, "number": int(number)})
            elif self.warden.phase == ARMED and self.options.forking and number in ENDING:
                self.warden.stop(FORKED_GRACE_MS, "told to stop")

    def _leave(self, exit_code: int, cause: str) -> None:
        self.exit_code = exit_code
        self.warden.fence(cause)

    def step_done(self, message: Message) -> None:
        if self.warden.phase != ARMED:
            return
        code, number = message["exit_code"], message["signal"]
        if message["error"]:
            say(str(message["error"]))
            self.exit_code = NOT_STARTED
        elif isinstance(code, int):
            self.exit_code = code
        elif isinstance(number, int):
            self.exit_code = SIGNALLED + number
        if self.options.forking and self.exit_code == 0:
            self.warden.await_empty()
        else:
            self.warden.stop(END_GRACE_MS, "command ended")

    def emptied(self) -> None:
        self.warden.stop(0, "nothing of the command is left")

    def fencing(self, cause: str) -> None:
        say(f"fencing: {cause}")
        self.exit_code = EX_TEMPFAIL  # also when a program that forks had been begun well
        self.link.send({"type": "fencing", "cause": cause[: message_fields.TEXT_CHARS_MAX]})

    def down(self, cause: str, duration_ms: int) -> None:
        self.link.send(local_protocol.down(cause, duration_ms))
        life_lock.remove(self.warden.record_path)


def main(arguments: list[str]) -> int:
    if exec_options.asks_for_help(arguments):
        os.write(1, exec_options.USAGE.encode())
        return 0
    try:
        options = exec_options.parse(arguments)
    except exec_options.UsageError as error:
        os.write(2, f"site-agent exec: {error}\n{exec_options.USAGE}".encode())
        return EX_USAGE
    life = Life(options)
    try:
        pid_one.stand_in(life, always=options.again)
    except OSError as error:
        say(f"{life.record}: {error.strerror}")
        return EX_UNAVAILABLE
    return ExecFront(options, life).serve()
