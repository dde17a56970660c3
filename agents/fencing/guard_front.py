"""The guard of an agent: the warden behind a private socket.

Rule: every request is answered, by `armed`, `accepted`, `status` or `error`, and a malformed one changes nothing.
The end of the socket is no fence: with an armed lease the guard goes on until the lease runs out, and the next
process of its agent may take the place at its door; without a lease nothing runs and it leaves. It is bound to one
incarnation for life, and remembers how the last steps ended for whoever asks later. SIGTERM (from whoever stops the
service) is a graceful stop, INT and HUP are ignored.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys

from agents.fencing import guard_protocol, message_fields
from agents.fencing.authority import Refused
from agents.fencing.guard_door import GuardDoor, door_path
from agents.fencing.guard_options import GuardOptions
from agents.fencing.ladder import Ladder
from agents.fencing.line_codec import BadLine, LineReader, Message, Outbox, decode, encode
from agents.fencing.record_file import record_path
from agents.fencing.warden import DORMANT, DOWN, Front, Warden

TERM_GRACE_MS = 10_000
ENDS_KEPT_MAX = 64
"""Steps whose end is remembered; a plan has no more."""
ENDS_BYTES_MAX = 24 * 1024
"""All of them in one status line, with room for the rest of it."""
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
        self.holder = ""
        """The incarnation that this guard is bound to, hex."""
        self.ends: dict[str, Message] = {}
        self.door: GuardDoor | None = None
        self.warden.private_fds += [control_fd, self.wake_fd, self.wake_write_fd]

    def open_door(self, path: str) -> None:
        """Before `serve`; without a door the guard works on."""
        try:
            self.door = GuardDoor(path)
        except OSError as error:
            self._no_door = f"; its agent cannot be replaced while active: {path}: {error.strerror}"
        else:
            self.warden.private_fds.append(self.door.fd)

    _no_door = ""

    def serve(self) -> None:
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(self.wake_write_fd, False)
        signal.set_wakeup_fd(self.wake_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.warden.build()
        self.warden.note += self._no_door
        self.warden.watch(self.control_fd, self._on_control)
        self.warden.watch(self.wake_fd, self._on_signal)
        if self.door is not None:
            self.warden.watch(self.door.fd, self._on_caller)
        self._greet()
        gc.disable()
        self.warden.run()
        self._say_last_words()
        if self.door is not None:
            self.door.close()

    def _greet(self) -> None:
        init = self.warden.init
        self.outbox.send(
            {
                "type": "ready",
                "containment": self.warden.containment,
                "note": self.warden.note,
                "pid": os.getpid(),
                "init_pid": 0 if init is None else init.pid,
                "init_started": 0 if init is None else init.started,
                "privileges": dict(self.warden.privileges),
            }
        )

    def _on_caller(self, _events: int) -> None:
        """The next process of the agent; the one before it must be gone."""
        fd = -1 if self.door is None else self.door.answer(lambda: self.control_fd >= 0)
        if fd < 0:
            return
        self.control_fd = fd
        self.reader, self.outbox = LineReader(), Outbox(fd)
        self.warden.watch(fd, self._on_control)
        self._greet()

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
        self.control_fd = -1
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
        elif kind == "bind":
            self._bind(message_fields.text(message, "holder"))
        elif kind == "cancel":
            warden.tell_step(message)
        elif kind == "stop":
            warden.stop(message_fields.integer(message, "grace_ms", 0, message_fields.GRACE_MS_MAX), "stop")
        else:
            warden.fence("fence")
        return {"type": "accepted"}

    def _bind(self, holder: str) -> None:
        if self.holder not in ("", holder):
            raise Refused("bound", "this guard holds for another incarnation, for life")
        self.holder = holder

    def _status(self) -> Message:
        warden, rungs = self.warden, self.warden.authority.rungs
        since = warden.authority.since
        return {
            "type": "status",
            "phase": warden.phase,
            "containment": warden.containment,
            "note": warden.note,
            "privileges": dict(warden.privileges),
            "highest_epoch": warden.authority.highest_epoch,
            "epoch": rungs.epoch if rungs else None,
            "term_at_ns": rungs.term_at_ns if rungs else None,
            "kill_at_ns": rungs.kill_at_ns if rungs else None,
            "deadline_ns": rungs.deadline_ns if rungs else None,
            "since": [since.boot_ns, since.raw_ns, since.wall_ns] if since else None,
            "holder": self.holder,
            "ended": list(self.ends.values()),
            "floor_ns": warden.timer.armed_at_ns,
            "steps": sorted(warden.steps),
            "dropped": self.outbox.dropped,
            "rungs": warden.rungs_climbed(),
            **warden.ladder.status(),
        }

    def step_done(self, message: Message) -> None:
        self.ends[str(message["step_id"])] = message
        while len(self.ends) > ENDS_KEPT_MAX or sum(len(encode(one)) for one in self.ends.values()) > ENDS_BYTES_MAX:
            del self.ends[next(iter(self.ends))]
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
    front.open_door(door_path(runtime_dir, group))
    try:
        front.serve()
    except OSError as error:
        front.outbox.send({"type": "error", "req": None, "code": "guard-failed", "text": str(error)})
        os.write(sys.stderr.fileno(), f"guard of {group}: {error}\n".encode())
        return 1
    return 0 if front.warden.phase == DOWN else 1
