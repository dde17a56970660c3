"""The demo's platform: a small real HTTP service that needs a license, started and stopped as real ones are.

`start` puts a daemon into the background (two forks, a new session) and returns when the service listens and its
license is activated; `stop` asks it to end and returns when it has. Both do no harm when run twice. What proves that
it runs is a file lock that the kernel drops with the process, not a pid, which means something else elsewhere.
Only the standard library, and little of it: what the demo measures is thirdsite and not this program's start.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import time

INTERVAL_S = 0.015
ANSWER_S = 0.25
START_S = 5.0
STOP_S = 5.0
POLL_S = 0.002
CLIENTS_MAX = 32
CLIENT_S = 1.0
REQUEST_BYTES_MAX = 8_192
LOCK_FILE = "service.lock"
DATA_FILE = "orders.log"
OUTPUT_FILE = "service.out"


class Refused(Exception):
    """The platform cannot start, with the reason in words."""


class License:
    """This instance's conversation with the vendor: one connection, one request at a time, never a lost order."""

    def __init__(self, port: int, key: str, site: str, epoch: int) -> None:
        self.address = ("127.0.0.1", port)
        self.site = site
        self.epoch = epoch
        self.instance = os.urandom(6).hex()
        self._body = f'{{"key": "{key}", "instance": "{self.instance}", "site": "{site}", "epoch": {epoch}}}'
        self._sock: socket.socket | None = None
        self._asked_at = 0.0
        self._waiting = False

    @property
    def sock(self) -> socket.socket | None:
        return self._sock

    def ask(self, path: str) -> None:
        """Waits for the answer; raises Refused or OSError."""
        self.settle()
        self._send(path)
        if self._sock is None:
            raise Refused("the license server cannot be reached")
        self._sock.settimeout(ANSWER_S * 4)
        answer = self._sock.recv(4_096)
        self._sock.setblocking(False)
        self._waiting = False
        if not answer.startswith(b"HTTP/1.1 200"):
            raise Refused(f"the license server says {answer[:80]!r}")

    def alive(self, now: float) -> None:
        """A sign of life, unless the one before is still unanswered; then that connection is given up in time."""
        if self._waiting:
            if now - self._asked_at > ANSWER_S:
                self.close()
            return
        try:
            self._send("/alive")
            self._asked_at = now
        except OSError:
            self.close()

    def _send(self, path: str) -> None:
        if self._sock is None:
            self._sock = socket.create_connection(self.address, timeout=ANSWER_S)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.setblocking(False)
        head = f"POST {path} HTTP/1.1\r\nHost: license\r\nContent-Type: application/json\r\n"
        self._sock.send(f"{head}Content-Length: {len(self._body)}\r\n\r\n{self._body}".encode())
        self._waiting = True

    def answered(self) -> None:
        """The socket is readable: the answer to a sign of life, or its end."""
        try:
            data = self._sock.recv(4_096) if self._sock is not None else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._waiting = False
        else:
            self.close()

    def settle(self) -> None:
        """A sign that is on its way arrives before anything that is said after it."""
        if self._waiting and self._sock is not None:
            select.select([self._sock], [], [], ANSWER_S)
            self.answered()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._waiting = False


class Service:
    """Listens, answers every request with who is active, and sends signs of life, in one loop without threads."""

    def __init__(self, port: int, vendor: License) -> None:
        self.vendor = vendor
        self.stopping = False
        self._clients: dict[int, tuple[socket.socket, bytearray, float]] = {}
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(CLIENTS_MAX)
        self._listener.setblocking(False)
        page = f"site {vendor.site}, epoch {vendor.epoch}, instance {vendor.instance}\n"
        head = f"HTTP/1.1 200 OK\r\nX-Site: {vendor.site}\r\nX-Epoch: {vendor.epoch}\r\nConnection: close\r\n"
        self._page = f"{head}Content-Type: text/plain\r\nContent-Length: {len(page)}\r\n\r\n{page}".encode()

    def run(self) -> None:
        due = time.monotonic()
        while not self.stopping:
            now = time.monotonic()
            if now >= due:
                self.vendor.alive(now)
                due = max(due + INTERVAL_S, now)
            self._wait(max(0.0, due - now))
            self._forget_slow(now)

    def _wait(self, seconds: float) -> None:
        vendor = self.vendor.sock
        readers = [self._listener, *(sock for sock, _, _ in self._clients.values())]
        readable, _, _ = select.select(readers + ([vendor] if vendor else []), [], [], seconds)
        for sock in readable:
            if sock is self._listener:
                self._accept()
            elif sock is vendor:
                self.vendor.answered()
            else:
                self._read(sock)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= CLIENTS_MAX:
            sock.close()
            return
        sock.setblocking(False)
        self._clients[sock.fileno()] = (sock, bytearray(), time.monotonic())

    def _read(self, sock: socket.socket) -> None:
        request = self._clients[sock.fileno()][1]
        try:
            data = sock.recv(REQUEST_BYTES_MAX)
        except OSError:
            data = b""
        request += data
        if b"\r\n\r\n" in request:
            self._answer(sock)
        if not data or b"\r\n\r\n" in request or len(request) > REQUEST_BYTES_MAX:
            self._drop(sock)

    def _answer(self, sock: socket.socket) -> None:
        try:
            sock.send(self._page)
        except OSError:
            return  # that client is gone; the next one will be served

    def _drop(self, sock: socket.socket) -> None:
        del self._clients[sock.fileno()]
        sock.close()

    def _forget_slow(self, now: float) -> None:
        for sock, _, since in list(self._clients.values()):
            if now - since > CLIENT_S:
                self._drop(sock)


def _lock(data_dir: str) -> tuple[int, bool]:
    """The lock file, and whether the lock is ours now; it is not while a service runs."""
    fd = os.open(f"{data_dir}/{LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return fd, False
    return fd, True


def start(data_dir: str, port: int, license_port: int, key: str, site: str, epoch: int) -> str:
    """Returns when the daemon serves; raises Refused."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.close(read_end)
        os.setsid()
        if os.fork() == 0:
            _daemon(write_end, data_dir, port, license_port, key, site, epoch)
        os._exit(0)
    os.close(write_end)
    os.wait()
    readable, _, _ = select.select([read_end], [], [], START_S)
    said = os.read(read_end, 1_024).decode() if readable else f"no word of the daemon within {START_S} s"
    if not said.startswith("serving"):
        raise Refused(said or "the daemon died")
    return said


def _daemon(write_end: int, data_dir: str, port: int, license_port: int, key: str, site: str, epoch: int) -> None:
    """The grandchild: never returns."""
    code = 1
    try:
        _let_go(data_dir)
        lock_fd, free = _lock(data_dir)
        if not free:
            running = os.pread(lock_fd, 64, 0).decode().split()
            same = len(running) == 2 and running[1] == str(epoch)
            os.write(write_end, b"serving already" if same else f"epoch {running[-1:]} still runs".encode())
            os._exit(0)
        vendor = License(license_port, key, site, epoch)
        service = Service(port, vendor)
        signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(service, "stopping", True))
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, f"{os.getpid()} {epoch}".encode(), 0)
        _append_order(data_dir, site, epoch)
        vendor.ask("/activate")
        vendor.alive(time.monotonic())
        os.write(write_end, f"serving on port {port} as instance {vendor.instance}".encode())
        os.close(write_end)
        service.run()
        vendor.ask("/deactivate")
        code = 0
    except (Refused, OSError) as error:
        _last_words(write_end, str(error))
    finally:
        os._exit(code)


def _let_go(data_dir: str) -> None:
    """A daemon keeps neither the terminal nor the pipe of whoever started it."""
    for target, path, flags in ((0, "/dev/null", os.O_RDONLY), (1, f"{data_dir}/{OUTPUT_FILE}", os.O_WRONLY)):
        fd = os.open(path, flags | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.dup2(fd, target)
        os.close(fd)
    os.dup2(1, 2)


def _last_words(write_end: int, text: str) -> None:
    try:
        os.write(write_end, text.encode()[:1_000])
    except OSError:
        return  # nobody waits any more


def _append_order(data_dir: str, site: str, epoch: int) -> None:
    """The platform's data: what the site's data check looks at before a quarantine lifts."""
    fd = os.open(f"{data_dir}/{DATA_FILE}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.write(fd, f"order taken at {site} in epoch {epoch}\n".encode())
    os.close(fd)


def stop(data_dir: str) -> str:
    """Returns when no service runs; raises Refused when it does not end in time."""
    fd, free = _lock(data_dir)
    if free:
        return "nothing runs"
    running = os.pread(fd, 64, 0).decode().split()
    if not running:
        raise Refused("a service is just starting")
    os.kill(int(running[0]), signal.SIGTERM)
    ends = time.monotonic() + STOP_S
    while time.monotonic() < ends:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(POLL_S)
        else:
            return "stopped"
    raise Refused(f"it did not end within {STOP_S} s")


def main(arguments: list[str]) -> int:
    """`start DATA_DIR PORT LICENSE_PORT KEY SITE [EPOCH]` (or EPOCH from the step's environment), `stop DATA_DIR`."""
    try:
        if arguments[0] == "start" and len(arguments) in (6, 7):
            epoch = int(arguments[6] if len(arguments) == 7 else os.environ["THIRDSITE_EPOCH"])
            data_dir, port, license_port, key, site = arguments[1:6]
            said = start(data_dir, int(port), int(license_port), key, site, epoch)
        elif arguments[0] == "stop" and len(arguments) == 2:
            said = stop(arguments[1])
        else:
            raise Refused("start DATA_DIR PORT LICENSE_PORT KEY SITE [EPOCH] | stop DATA_DIR")
    except (Refused, OSError, KeyError, IndexError, ValueError) as error:
        os.write(2, f"platform: {error}\n".encode())
        return 1
    os.write(1, f"platform: {said}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
