"""An address of the service with a lifetime in the kernel (`valid_lft`): it goes when nobody prolongs it.

Rule: the kernel counts whole seconds from when it takes the message and may look up to a second late; both are
allowed for where the lifetime is chosen (agents/fencing/resource_time.py), never here. The address is ours alone: one
that is there without our doing (left by a former life, or configured by hand) is taken away while dormant.
Rejected: adding and deleting it by steps (what is stopped deletes nothing), keepalived beside it (two masters).
"""

from __future__ import annotations

import _socket as sockets
import errno
import struct

from agents.fencing import netlink

_NEW, _DELETE, _GET = 20, 21, 22
_LOCAL, _ADDRESS, _CACHE_INFO, _FLAGS = 2, 1, 6, 8
_NO_DUPLICATE_CHECK = 0x02
"""IPv6 would keep it unusable for a second; the lease already says that nobody else has it."""
_HEADER = struct.Struct("=BBBBI")
_CACHE = struct.Struct("=IIII")


class KernelAddress:
    """One address on one interface. Stateless: each call opens a socket, works, and closes it."""

    __slots__ = ("address", "interface", "packed", "prefix")

    def __init__(self, address: str, prefix: int, interface: str) -> None:
        self.address = address
        self.prefix = prefix
        self.interface = interface
        self.packed = sockets.inet_pton(self.family, address)

    @property
    def family(self) -> int:
        return sockets.AF_INET6 if ":" in self.address else sockets.AF_INET

    @property
    def name(self) -> str:
        return f"address {self.address} on {self.interface}"

    def set(self, lifetime_s: int) -> bool:
        """Adds it, or sets what is left of its life; True when it was not there before."""
        fresh = not self.interfaces()
        cache = _CACHE.pack(lifetime_s, lifetime_s, 0, 0)
        payload = (
            self._head(self._index())
            + netlink.attribute(_LOCAL, self.packed)
            + netlink.attribute(_ADDRESS, self.packed)
            + netlink.attribute(_CACHE_INFO, cache)
            + netlink.attribute(_FLAGS, struct.pack("=I", _NO_DUPLICATE_CHECK))
        )
        flags = netlink.CREATE | netlink.REPLACE
        with netlink.Netlink(netlink.NETLINK_ROUTE) as link:
            link.ask(netlink.Request(f"setting {self.name}", _NEW, flags, payload))
        return fresh

    def remove(self) -> None:
        """From every interface; nothing to remove is no error."""
        for index, prefix in self.interfaces():
            payload = self._head(index, prefix) + netlink.attribute(_LOCAL, self.packed)
            with netlink.Netlink(netlink.NETLINK_ROUTE) as link:
                try:
                    link.ask(netlink.Request(f"removing {self.name}", _DELETE, 0, payload))
                except OSError as error:
                    if error.errno != errno.EADDRNOTAVAIL:  # it went between the look and the removal
                        raise

    def interfaces(self) -> list[tuple[int, int]]:
        """Where the kernel has it now: interface numbers with the prefix there."""
        request = netlink.Request(f"looking for {self.name}", _GET, 0, _HEADER.pack(self.family, 0, 0, 0, 0))
        with netlink.Netlink(netlink.NETLINK_ROUTE) as link:
            payloads = link.dump(request)
        found = []
        for payload in payloads:
            family, prefix, _flags, _scope, index = _HEADER.unpack_from(payload)
            held = netlink.attributes(payload[_HEADER.size :])
            if family == self.family and held.get(_LOCAL, held.get(_ADDRESS)) == self.packed:
                found.append((index, prefix))
        return found

    def require_interface(self) -> None:
        """Raises OSError when there is no such interface now."""
        self._index()

    def _head(self, index: int, prefix: int | None = None) -> bytes:
        return _HEADER.pack(self.family, self.prefix if prefix is None else prefix, 0, 0, index)

    def _index(self) -> int:
        try:
            return sockets.if_nametoindex(self.interface)
        except OSError as error:
            raise OSError(error.errno or errno.ENODEV, f"there is no interface {self.interface}") from None
