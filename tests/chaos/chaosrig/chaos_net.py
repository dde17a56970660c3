"""The network of a run: a bridge in a namespace of its own, a namespace and a cable for each host. Nothing has a name
outside, so it is gone with the run, whatever happens to that.

Rule: every fault is made where the cables meet, as a table of the bridge of its own (both ends notice nothing but
silence, ARP included), and is healed by deleting that table: faults that overlap do not know of each other. A reset
must look as if the host itself said it, and lives in the host's namespace.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from fcntl import ioctl
from pathlib import Path

from agents.fencing import kernel_calls

NET = "10.78.0"
SIOCETHTOOL = 0x8946
SET_TX_CSUM, SET_TSO, SET_GSO = 0x17, 0x1F, 0x24
CABLE = Path(__file__).with_name("chaos_cable.py")
STOP_S = 10.0


def _namespace() -> int:
    """A descriptor of it; it is gone when that is closed and nothing runs in it any more."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel_calls.unshare(kernel_calls.CLONE_NEWNET)
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        kernel_calls.setns(before, kernel_calls.CLONE_NEWNET)
    finally:
        os.close(before)
    return made


class Net:
    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.hub = _namespace()
        self.spaces = {name: _namespace() for name in names}
        self._tables: dict[str, int] = {}
        """Tables of faults by name, and in which namespace."""
        self._cables: dict[str, subprocess.Popen[bytes]] = {}
        self._narrow: set[str] = set()
        self._count = 0
        self._run(self.hub, "ip link add br0 type bridge", "ip link set br0 up")
        for name, space in self.spaces.items():
            port = self.port(name)
            self._run(self.hub, f"ip link add {port} type veth peer name eth0 netns /proc/self/fd/{space}", also=space)
            self._run(self.hub, f"ip link set {port} master br0 up")
            self._run(
                space, f"ip addr add {self.address(name)}/24 dev eth0", "ip link set eth0 up", "ip link set lo up"
            )
            with self.inside(name):
                _plain_frames("eth0")

    def address(self, name: str) -> str:
        return f"{NET}.{self.names.index(name) + 1}"

    @staticmethod
    def port(name: str) -> str:
        return f"port-{name}"

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """This thread makes sockets there while the context lasts."""
        kernel_calls.setns(self.spaces[name], kernel_calls.CLONE_NEWNET)
        try:
            yield
        finally:
            kernel_calls.setns(self._own, kernel_calls.CLONE_NEWNET)

    def enter(self, name: str) -> tuple[tuple[str, ...], int]:
        """The words before a command that runs there, and the descriptor that it needs."""
        space = self.spaces[name]
        return ("nsenter", f"--net=/proc/self/fd/{space}"), space

    # -- faults: each returns the name by which it is healed ------------------------------------------------

    def cut(self, ways: Iterable[tuple[str, str]], when: str = "") -> str:
        """Nothing that the first sends reaches the second; with `when`, only frames of that kind."""
        rules = [f'iifname "{self.port(one)}" oifname "{self.port(to)}" {when} drop' for one, to in ways]
        return self._table("bridge", self.hub, "forward", rules)

    def weather(self, host: str, peers: Iterable[str], when: str) -> str:
        """Both ways between a host and each peer: frames of that kind (an expression of nft) are lost."""
        return self.cut([pair for peer in peers for pair in ((host, peer), (peer, host))], when)

    def reset(self, host: str, peers: Iterable[str]) -> str:
        """Every segment that comes from a peer is answered with a reset, in the host's own name."""
        rules = [f"ip saddr {self.address(peer)} meta l4proto tcp reject with tcp reset" for peer in peers]
        return self._table("inet", self.spaces[host], "input", rules)

    def heal(self, name: str) -> None:
        if name in self._cables:
            self._reconnect(name)
            return
        if name.startswith("narrow "):
            self._widen(name.removeprefix("narrow "))
            return
        family, _, table = name.partition(" ")
        space = self._tables.pop(name, None)
        if space is not None:
            self._nft(space, f"delete table {family} {table}")

    def _table(self, family: str, space: int, hook: str, rules: list[str]) -> str:
        self._count += 1
        table = f"fault{self._count}"
        lines = [f"add table {family} {table}"]
        lines += [f"add chain {family} {table} at {{ type filter hook {hook} priority 0; }}"]
        lines += [f"add rule {family} {table} at {rule}" for rule in rules]
        self._nft(space, "\n".join(lines))
        self._tables[f"{family} {table}"] = space
        return f"{family} {table}"

    # -- a cable that delays --------------------------------------------------------------------------------

    def slow_cable(self, host: str, low_ms: int, high_ms: int, seed: int) -> str:
        """The host's port leaves the bridge, and a program carries each frame over after a span of its own drawing."""
        port = self.port(host)
        near, far = f"in-{host}", f"out-{host}"
        self._run(self.hub, f"ip link add {near} type veth peer name {far}")
        self._run(self.hub, f"ip link set {near} master br0 up", f"ip link set {far} up")
        kernel_calls.setns(self.hub, kernel_calls.CLONE_NEWNET)
        try:
            for device in (near, far, port):
                _plain_frames(device)
        finally:
            kernel_calls.setns(self._own, kernel_calls.CLONE_NEWNET)
        self._run(self.hub, f"ip link set {port} nomaster", f"ip link set {port} promisc on")
        words = ["nsenter", f"--net=/proc/self/fd/{self.hub}", sys.executable, "-I", "-S", str(CABLE)]
        self._cables[host] = subprocess.Popen(
            [*words, port, far, str(low_ms), str(high_ms), str(seed)],
            pass_fds=(self.hub,),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return host

    def _reconnect(self, host: str) -> None:
        cable = self._cables.pop(host)
        cable.kill()
        cable.wait(STOP_S)
        if cable.stdin is not None:
            cable.stdin.close()
        self._run(self.hub, f"ip link del in-{host}", f"ip link set {self.port(host)} master br0")

    def narrow_cable(self, host: str, rate: str) -> str:
        """What goes to that host goes at that rate; what does not fit into a second of it is lost."""
        self._run(self.hub, f"tc qdisc add dev {self.port(host)} root tbf rate {rate} burst 3000 latency 1s")
        self._narrow.add(host)
        return f"narrow {host}"

    def _widen(self, host: str) -> None:
        self._narrow.discard(host)
        self._run(self.hub, f"tc qdisc del dev {self.port(host)} root")

    # -- addresses ------------------------------------------------------------------------------------------

    def readdress(self, host: str, *, moved: bool) -> None:
        """The host's address is another one, at once; connections that it had know nothing of that."""
        here, there = f"{self.address(host)}/24", f"{NET}.{self.names.index(host) + 101}/24"
        old, new = (here, there) if moved else (there, here)
        self._run(self.spaces[host], f"ip addr del {old} dev eth0", f"ip addr add {new} dev eth0")

    def close(self) -> None:
        for name in list(self._cables):
            with contextlib.suppress(subprocess.SubprocessError):
                self._reconnect(name)
        for space in (*self.spaces.values(), self.hub, self._own):
            os.close(space)

    # -- programs -------------------------------------------------------------------------------------------

    @staticmethod
    def _run(space: int, *commands: str, also: int = -1) -> None:
        fds = (space,) if also < 0 else (space, also)
        for command in commands:
            words = ["nsenter", f"--net=/proc/self/fd/{space}", *command.split()]
            subprocess.run(words, pass_fds=fds, check=True, capture_output=True)

    @staticmethod
    def _nft(space: int, script: str) -> None:
        words = ["nsenter", f"--net=/proc/self/fd/{space}", "nft", "-f", "-"]
        done = subprocess.run(words, pass_fds=(space,), input=script, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise OSError(f"nft refuses\n{script}\n{done.stderr}")


def _plain_frames(device: str) -> None:
    """Checksums are filled in and nothing is larger than a frame: what a program carries over must be whole."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for what in (SET_TSO, SET_GSO, SET_TX_CSUM):
            value = bytearray(struct.pack("II", what, 0))
            with contextlib.suppress(OSError):  # what follows from the absence of another one may not be set
                ioctl(sock, SIOCETHTOOL, struct.pack("16sP", device.encode(), _address_of(value)))


def _address_of(value: bytearray) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(value))
