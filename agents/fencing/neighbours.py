"""Tells an interface's neighbours where a service's address lives now: gratuitous ARP, unsolicited advertisement.

Rule: best effort and repeated by the caller; neighbours that hear nothing keep sending to the former host until
their entry is stale. Both forms of ARP are sent, because switches and hosts differ in which of the two they take.
"""

from __future__ import annotations

import _socket as sockets
import struct

from agents.fencing.kernel_address import KernelAddress

BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ARP_TYPE = 0x0806
_ETHERNET = 1
_REQUEST, _REPLY = 1, 2
_ALL_NODES = "ff02::1"
_OVERRIDE = 0x2000_0000
_HOPS = 255
"""Neighbours drop an advertisement that may have come from beyond the link."""


def arp_frames(hardware: bytes, address: bytes) -> tuple[bytes, ...]:
    return tuple(
        _ARP.pack(BROADCAST, hardware, _ARP_TYPE, 1, 0x0800, 6, 4, kind, hardware, address, target, address)
        for kind, target in ((_REQUEST, bytes(6)), (_REPLY, BROADCAST))
    )


def advertisement(hardware: bytes, address: bytes) -> bytes:
    """ICMPv6 type 136 with override; the kernel fills in the checksum."""
    return struct.pack("!BBHI16sBB6s", 136, 0, 0, _OVERRIDE, address, 2, 1, hardware)


def announce(address: KernelAddress) -> None:
    """Raises OSError; an interface without neighbours (lo, a tunnel) needs no announcement."""
    sock = sockets.socket(sockets.AF_PACKET, sockets.SOCK_RAW | sockets.SOCK_CLOEXEC, 0)
    try:
        sock.bind((address.interface, _ARP_TYPE))
        kind, hardware = sock.getsockname()[3:5]
        if kind != _ETHERNET:
            return
        if address.family == sockets.AF_INET6:
            _advertise(address, hardware)
            return
        for frame in arp_frames(hardware, address.packed):
            sock.send(frame)
    finally:
        sock.close()


def _advertise(address: KernelAddress, hardware: bytes) -> None:
    kind = sockets.SOCK_RAW | sockets.SOCK_CLOEXEC
    sock = sockets.socket(sockets.AF_INET6, kind, sockets.IPPROTO_ICMPV6)
    try:
        index = sockets.if_nametoindex(address.interface)
        sock.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_MULTICAST_HOPS, _HOPS)
        sock.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_MULTICAST_IF, index)
        sock.bind((address.address, 0, 0, index))
        sock.sendto(advertisement(hardware, address.packed), (_ALL_NODES, 0, 0, index))
    finally:
        sock.close()
