"""A platform that behaves like Navixy: three services that need long to be up, a key in a row, a vendor who changes it.

    start DIR    starts the three of DIR/platform.json in the background; returns at once, long before they are up
    stop DIR     stops them
    check DIR    prints the state of each, as `check-navixy` does
    licensed DIR   exit code 0 when the one that has the license is up here, else 1
    serve DIR NAME   one of them: api-server, sms-server, tcp-server

api-server hands the key of google.variables to the vendor at its start, then every `exchange_s` and whenever
DIR/exchange is touched, and writes the new one into that row; without a valid key it ends. The others need the
database alone. With DIR/last-exchange it exchanges once more as it stops. DIR/stop says how `stop` behaves: `fails` at
once, or `hangs`; without it, it stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SERVICES = ("api-server", "sms-server", "tcp-server")
LICENSED = "api-server"
HANG_S = 3_600.0
ROW = "WHERE var = 'fingerprint'"
ANSWER_S = 3.0
STOP_S = 5.0
BEAT_S = 0.2


class Platform:
    """What stands in DIR/platform.json: db (its client's option file), vendor, site, start_s, exchange_s, ports.

    With `sessions` (address and port) each service holds a connection there from its first moment on, which the kernel
    closes when it is dead, however it died.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        said: dict[str, Any] = json.loads((directory / "platform.json").read_text(encoding="utf-8"))
        self.db, self.vendor, self.site = str(said["db"]), str(said["vendor"]), str(said["site"])
        self.start_s, self.exchange_s = float(said["start_s"]), float(said["exchange_s"])
        self.ports: dict[str, int] = said["ports"]
        self.sessions: list[Any] = said.get("sessions", [])

    def sql(self, statement: str) -> str:
        done = subprocess.run(
            ["mariadb", f"--defaults-file={self.db}", "--batch", "-N", "-e", statement],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"the database: {done.stderr.strip()}")
        return done.stdout.strip()

    def session(self, service: str, instance: str) -> contextlib.AbstractContextManager[object]:
        if not self.sessions:
            return contextlib.nullcontext()
        address, port = self.sessions
        made = socket.create_connection((str(address), int(port)), timeout=ANSWER_S)
        made.sendall(json.dumps({"site": self.site, "service": service, "instance": instance}).encode() + b"\n")
        return made

    def say(self, path: str, **what: str) -> dict[str, Any]:
        """To the vendor; ends the platform when the license is refused."""
        body = json.dumps({"site": self.site, **what}).encode()
        request = urllib.request.Request(f"{self.vendor}/{path}", data=body)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            raise SystemExit(f"the vendor: {error.read().decode()}") from error


def log(words: str) -> None:
    print(f"{time.time():.3f} {words}", flush=True)


class License:
    """Of one start of api-server."""

    def __init__(self, platform: Platform, instance: str) -> None:
        self.platform = platform
        self.instance = instance
        self.asked = platform.directory / "exchange"
        self.last = platform.directory / "last-exchange"
        self._due = 0.0

    def exchange(self) -> None:
        key = self.platform.sql(f"SELECT value FROM google.variables {ROW}")
        new = self.platform.say("exchange", key=key, instance=self.instance)["key"]
        self.platform.sql(f"UPDATE google.variables SET value = '{new}' {ROW}")
        self.asked.unlink(missing_ok=True)
        self._due = time.monotonic() + self.platform.exchange_s
        log("the key was exchanged")

    def end(self) -> None:
        if self.last.exists():
            self.exchange()
            self.last.unlink()
        with contextlib.suppress(OSError):
            self.platform.say("ended", instance=self.instance)

    def beat(self) -> None:
        if self.asked.exists() or time.monotonic() > self._due:
            self.exchange()
        with contextlib.suppress(OSError):  # a vendor that cannot be reached for a while stops nobody
            self.platform.say("alive", instance=self.instance)


def serve(platform: Platform, name: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    instance = os.urandom(6).hex()
    with contextlib.ExitStack() as stack:
        stack.enter_context(platform.session(name, instance))
        held = License(platform, instance) if name == LICENSED else None
        if held is not None:
            held.exchange()
        platform.sql("SELECT 1")
        up_at = time.monotonic() + platform.start_s
        listener: socket.socket | None = None
        while not stop.wait(BEAT_S):
            if listener is None and time.monotonic() >= up_at:
                listener = stack.enter_context(socket.create_server(("127.0.0.1", platform.ports[name])))
                log(f"{name} is up")
            if held is not None:
                held.beat()
        if held is not None:
            held.end()


def start(platform: Platform) -> None:
    for name in SERVICES:
        with (platform.directory / f"{name}.log").open("ab") as output:
            made = subprocess.Popen(
                [sys.executable, __file__, "serve", str(platform.directory), name],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        (platform.directory / f"{name}.pid").write_text(str(made.pid), encoding="ascii")


def stop(platform: Platform) -> None:
    _misbehave(platform.directory / "stop")
    ends = time.monotonic() + STOP_S
    for number in (signal.SIGTERM, 0):
        for name in SERVICES:
            with contextlib.suppress(OSError, ValueError):
                pid = int((platform.directory / f"{name}.pid").read_text(encoding="ascii"))
                if not _is(pid, name):
                    continue
                os.kill(pid, number)
                while number == 0 and _runs(pid):
                    if time.monotonic() > ends:
                        raise SystemExit(f"{name} does not end")
                    time.sleep(0.02)


def _misbehave(manner: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if manner.read_text(encoding="ascii") == "hangs":
            time.sleep(HANG_S)  # whoever called it ends it
        raise SystemExit("this stop was told to fail")


def _is(pid: int, name: str) -> bool:
    """A pid of an earlier life, or of another namespace, may be anybody's by now."""
    return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    return False


def check(platform: Platform) -> None:
    for name in SERVICES:
        print(f"{name}: {'running' if _answers(platform, name) else 'stopped'}")


def licensed(platform: Platform) -> None:
    raise SystemExit(0 if _answers(platform, LICENSED) else 1)


def _answers(platform: Platform, name: str) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", platform.ports[name]), timeout=1).close()
        return True
    return False


def main(arguments: list[str]) -> None:
    verb, platform = arguments[0], Platform(Path(arguments[1]))
    if verb == "serve":
        serve(platform, arguments[2])
    else:
        {"start": start, "stop": stop, "check": check, "licensed": licensed}[verb](platform)


if __name__ == "__main__":
    main(sys.argv[1:])
