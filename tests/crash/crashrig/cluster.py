"""Three witnesses of one campaign cluster, seen from outside: started, asked, armed, killed, started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crashrig.member import CLUSTER

from proto.units import WitnessId
from witness.demo.layout import Ports
from witness.raft.store import create_store

IDS = ("w1", "w2", "w3")
TIMERS = (20, 125, 250, 500)
ANSWER_S = 15.0
GONE_S = 10.0


class Stuck(Exception):
    """Something that had to happen did not within its bound; the text says what."""


class Lost(Exception):
    """An acknowledged command is missing, copies differ, or a process died of itself."""


_MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'


class Nursery:
    def __init__(self, small_disk: tuple[Path, str] | None = None) -> None:
        """`small_disk`: a directory that is a file system of this size, for this nursery's witnesses alone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here = str(Path(__file__).parents[1])
        root = str(Path(__file__).parents[3])
        command = [sys.executable, "-m", "crashrig.nursery", str(theirs.fileno())]
        if small_disk is not None:
            shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT, "sh"]
            command = [*shell, small_disk[1], str(small_disk[0]), *command]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((here, root)), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env)
        theirs.close()
        self._sock = ours

    def spawn(self, config: dict[str, Any], sock: socket.socket) -> int:
        socket.send_fds(self._sock, [json.dumps(config).encode()], [sock.fileno()])
        return int(self._sock.recv(32))

    def inside(self, *command: str) -> None:
        """Runs a command where its witnesses see the small disk."""
        subprocess.run(["nsenter", "--target", str(self._process.pid), "--mount", *command], check=True, timeout=GONE_S)

    def end(self) -> None:
        self._sock.close()
        self._process.wait(GONE_S)


class Witness:
    """One member, through all of its lives."""

    def __init__(self, config: dict[str, Any], nursery: Nursery) -> None:
        self.name = str(config["self"])
        self._words = Path(f"{config['directory']}.words")
        self._config = {**config, "words": str(self._words)}
        self._nursery = nursery
        self._told: dict[str, list[asyncio.Future[Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._pidfd = -1
        self.pid = 0
        self.alive = False
        self.dead = asyncio.Event()
        self.hit: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last_words = ""
        self.lives = 0

    async def start(self, arm: tuple[str, list[int]] | None = None) -> None:
        """`arm`: an order that holds from its first step on, and who dies with it."""
        self._words.unlink(missing_ok=True)
        ours, theirs = socket.socketpair()
        config = {**self._config, "arm": arm}
        self.pid = self._nursery.spawn(config, theirs)
        theirs.close()
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(self.pid)
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 26)
        self.alive, self.last_words, self.lives = True, "", self.lives + 1
        self.dead = asyncio.Event()
        self.hit = asyncio.get_running_loop().create_future()
        started = self._expect("started")
        self._reading = asyncio.create_task(self._read(reader))
        if arm is None:
            await self._within(started, ANSWER_S, "starts")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError, ValueError):  # the last line may be cut by a death
            while line := await reader.readline():
                self._take(json.loads(line))
        self._await_end()
        self.alive = False
        if self._words.exists():
            for line in self._words.read_text(encoding="utf-8").splitlines():
                self._take(json.loads(line))
        for waiting in self._told.values():
            for future in waiting:
                if not future.done():
                    future.cancel()
        self._told.clear()
        if self._writer is not None:
            self._writer.close()
        self.dead.set()

    def _take(self, told: dict[str, Any]) -> None:
        for key, value in told.items():
            if key == "hit" and not self.hit.done():
                self.hit.set_result(value)
            elif key in ("fatal", "refused_start"):
                self.last_words = f"{key}: {value}"
            name = f"{key}:{value}" if key in ("done", "refused") else key
            for future in self._told.pop(name, []):
                if not future.done():
                    future.set_result(value)

    def _await_end(self) -> None:
        """Its socket is closed; its lock and its port are free when the process is gone, at once after that."""
        if self._pidfd >= 0:
            if not select.select([self._pidfd], [], [], GONE_S)[0]:
                raise Stuck(f"{self.name} closed its socket and did not end")
            os.close(self._pidfd)
            self._pidfd = -1

    def _expect(self, name: str) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._told.setdefault(name, []).append(future)
        return future

    async def _within(self, future: asyncio.Future[Any], seconds: float, what: str) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise Stuck(f"{self.name}: not within {seconds} s: {what}") from None
        except asyncio.CancelledError:
            if future.cancelled():
                raise ConnectionError(f"{self.name} died: {self.last_words or 'killed'}") from None
            raise

    def say(self, *command: Any) -> None:
        if self._writer is not None and self.alive:
            self._writer.write(json.dumps(command).encode() + b"\n")

    async def ask(self, answer: str, *command: Any) -> Any:
        """Raises ConnectionError when it dies before it answers."""
        if not self.alive:
            raise ConnectionError(f"{self.name} is down")
        future = self._expect(answer)
        self.say(*command)
        return await self._within(future, ANSWER_S, command[0])

    async def do(self, text: str, size: int, seconds: float) -> bool:
        """True when it was acknowledged; False when that is not known."""
        if not self.alive:
            await asyncio.sleep(0.002)  # the span in which a client looks for another server
            return False
        done, refused = self._expect(f"done:{text}"), self._expect(f"refused:{text}")
        self.say("do", text, size)
        try:
            await asyncio.wait([done, refused], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for name, future in (("done", done), ("refused", refused)):
                left = self._told.get(f"{name}:{text}", [])
                if future in left:
                    left.remove(future)
        return done.done() and not done.cancelled()

    def signal(self, number: signal.Signals) -> None:
        if self.alive and self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.gone()

    async def gone(self) -> None:
        try:
            async with asyncio.timeout(GONE_S):
                await self.dead.wait()
        except TimeoutError:
            raise Stuck(f"{self.name} does not end") from None


class Cluster:
    def __init__(
        self,
        root: Path,
        nursery: Nursery,
        *,
        ballast: int,
        entries_max: int,
        broken: bool = False,
        small: tuple[str, tuple[int, int]] | None = None,
    ) -> None:
        """`small`: the witness on the small disk, and below how many free bytes it is low and critical."""
        self.root = root
        self.entries_max = entries_max
        ports = Ports()
        address = {name: ("127.0.0.1", ports.take()) for name in IDS}
        ports.release()
        self.witnesses: dict[str, Witness] = {}
        for name in IDS:
            space = small[1] if small is not None and small[0] == name else None
            if space is None:
                create_store(root / name, CLUSTER, WitnessId(name))
            config = {
                "space": space,
                "self": name,
                "directory": str(root / name),
                "peers": {other: where for other, where in address.items() if other != name},
                "listen": address[name],
                "timers": TIMERS,
                "ballast": ballast,
                "broken": broken,
                "entries_max": entries_max,
                "tail_entries": entries_max // 4,
            }
            self.witnesses[name] = Witness(config, nursery)

    @property
    def alive(self) -> list[Witness]:
        return [witness for witness in self.witnesses.values() if witness.alive]

    async def start_dead(self) -> None:
        await asyncio.gather(*(one.start() for one in self.witnesses.values() if not one.alive))

    async def leader(self, seconds: float = ANSWER_S) -> Witness:
        """The one on whom all living agree."""
        ends, told = time.monotonic() + seconds, {}
        while time.monotonic() < ends:
            told = {one.name: await one.ask("look", "look") for one in self.alive}
            named = {look["leader"] for look in told.values()}
            if len(named) == 1 and all(look["quorum"] for look in told.values()):
                leader = self.witnesses.get(named.pop() or "")
                if leader is not None and leader.alive:
                    return leader
            await asyncio.sleep(0.01)
        raise Stuck(f"no leader within {seconds} s: {told}")

    async def end(self) -> None:
        for one in self.alive:
            await one.kill()
