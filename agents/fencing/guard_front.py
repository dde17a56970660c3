"""The guard of an agent: the warden behind a private socket.

Rule: every request is answered, by `armed`, `accepted`, `status` or `error`, and a malformed one changes nothing.
The end of the socket is no fence: with an armed lease the guard goes on until the lease runs out; without one
nothing runs and it leaves. SIGTERM (from whoever stops the service) is a graceful stop, INT and HUP are ignored.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys

from agents.fencing import guard_protocol, message_fields
from agents.fencing.authority import Refused
from agents.fencing.guard_options import GuardOptions
from agents.fencing.ladder import Ladder
from agents.fencing.line_codec import BadLine, LineReader, Message, Outbox, decode
from agents.fencing.record_file import record_path
from agents.fencing.warden import DORMANT, DOWN, Front, Warden

TERM_GRACE_MS = 10_000
LAST_WORDS_MS = 200


class GuardFront(Front):
    """Owns the socket to the agent."""

    def __init__(
        self, control_fd: int, warden_record: str, epoch_finished: int, wanted: str | None, ladder: Ladder | None = None
    ) -> None:
        os.set_inheritable(control_fd, False)
        os.set_blocking(control_fd, False)
        self.control_fd = control_fd
        self.reader = LineReader()
        self.outbox = Outbox(control_fd)
        self.warden = Warden(self, warden_record, epoch_finished, wanted, ladder)
        self.wake_fd, self.wake_write_fd = os.pipe()
        self.warden.private_fds += [control_fd, self.wake_fd, self.wake_write_fd]

    def serve(self) -> None:
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self.wake_write_fd, False)
        signal.set_wakeup_fd(self.wake_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        init = self.warden.build()
        self.warden.watch(self.control_fd, self._on_control)
        self.warden.watch(self.wake_fd, self._on_signal)
        self.outbox.send(
            {
                "type": "ready",
                "containment": self.warden.containment,
                "note": self.warden.note,
                "pid": os.getpid(),
                "init_pid": init.pid,
                "init_started": init.started,
                "privileges": dict(self.warden.privileges),
            }
        )
        gc.disable()
        self.warden.run()
        self._say_last_words()

    def _on_signal(self, _events: int) -> None:
        os.read(self.wake_fd, 64)
        self.warden.stop(TERM_GRACE_MS, "signal")

    def _on_control(self, _events: int) -> None:
        try:
            data = os.read(self.control_fd, 65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._control_ended()
            return
        try:
            lines = self.reader.feed(data)
        except BadLine as error:
            self._refuse(None, "too-long", str(error))
            return
        for line in lines:
            self._on_line(line)
        self.outbox.flush()

    def _control_ended(self) -> None:
        self.warden.forget(self.control_fd)
        self.outbox.close()
        os.close(self.control_fd)
        if self.warden.phase == DORMANT:
            self.warden.fence("the agent is gone and no lease is armed")

    def _on_line(self, line: bytes) -> None:
        number: object = None
        try:
            message = decode(line)
            number = message.get("req")
            kind = guard_protocol.check_request(message)
            answer = self._obey(kind, message)
        except BadLine as error:
            self._refuse(number, "bad-message", str(error))
        except Refused as refused:
            self._refuse(number, refused.code, refused.text)
        else:
            self.outbox.send({**answer, "req": number})

    def _refuse(self, number: object, code: str, text: str) -> None:
        known = number if isinstance(number, int) else None
        self.outbox.send({"type": "error", "req": known, "code": code, "text": text[:512]})

    def _obey(self, kind: str, message: Message) -> Message:
        warden = self.warden
        if kind == "deadline":
            rungs = message_fields.rungs(message)
            warden.arm(rungs)
            armed = {"type": "armed", "epoch": rungs.epoch, "deadline_ns": rungs.deadline_ns}
            return {**armed, **warden.ladder.held()}
        if kind == "status":
            return self._status()
        if kind == "run":
            warden.run_step(message)
        elif kind == "cancel":
            warden.tell_step(message)
        elif kind == "stop":
            warden.stop(message_fields.integer(message, "grace_ms", 0, message_fields.GRACE_MS_MAX), "stop")
        else:
            warden.fence("fence")
        return {"type": "accepted"}

    def _status(self) -> Message:
        warden, rungs = self.warden, self.warden.authority.rungs
        return {
            "type": "status",
            "phase": warden.phase,
            "containment": warden.containment,
            "note": warden.note,
            "privileges": dict(warden.privileges),
            "highest_epoch": warden.authority.highest_epoch,
            "epoch": rungs.epoch if rungs else None,
            "deadline_ns": rungs.deadline_ns if rungs else None,
            "floor_ns": warden.timer.armed_at_ns,
            "steps": sorted(warden.steps),
            "dropped": self.outbox.dropped,
            "rungs": warden.rungs_climbed(),
            **warden.ladder.status(),
        }

    def step_done(self, message: Message) -> None:
        self.outbox.send(message)

    def fencing(self, cause: str) -> None:
        self.outbox.send({"type": "fencing", "cause": cause})

    def down(self, cause: str, duration_ms: int) -> None:
        rungs = self.warden.rungs_climbed()
        self.outbox.send({"type": "down", "cause": cause, "duration_ms": duration_ms, "rungs": rungs})

    def _say_last_words(self) -> None:
        """`down` should arrive, but nobody waits for a peer that does not read."""
        if self.outbox.waiting:
            poller = select.poll()
            poller.register(self.outbox.fd, select.POLLOUT)
            poller.poll(LAST_WORDS_MS)
            self.outbox.flush()


def main(arguments: list[str]) -> int:
    """`guard_main.py GROUP RUNTIME_DIR CONTROL_FD EPOCH_FINISHED CONTAINMENT|auto OPTIONS`, started by GuardHandle."""
    if len(arguments) != 6:
        os.write(2, b"usage: guard_main.py GROUP RUNTIME_DIR CONTROL_FD EPOCH_FINISHED CONTAINMENT|auto OPTIONS\n")
        return 64
    group, runtime_dir, control_fd, epoch_finished, wanted, options = arguments
    front = GuardFront(
        int(control_fd),
        record_path(runtime_dir, group),
        int(epoch_finished),
        None if wanted == "auto" else wanted,
        Ladder(GuardOptions(options), group),
    )
    try:
        front.serve()
    except OSError as error:
        front.outbox.send({"type": "error", "req": None, "code": "guard-failed", "text": str(error)})
        os.write(sys.stderr.fileno(), f"guard of {group}: {error}\n".encode())
        return 1
    return 0 if front.warden.phase == DOWN else 1
