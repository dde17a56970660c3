"""A connection to another site's agent: TCP, TLS, SiteHello, SiteWelcome; and what a first request may follow at once.

A tunnel's Hello and RelayOpen leave together: when the witnesses cannot be reached, a round trip between sites counts.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from agents.settings import Endpoint
from agents.site_link.greeting import Ourselves
from agents.site_link.port import SiteUnreachable
from agents.site_link.wire import BUFFER_BYTES, Wire, words
from proto.edge.identity import Identity, PeerRefused
from proto.edge.tls import identity_of
from proto.errors import FrameRefused
from proto.site_codec import SITE_ANSWERS, SITE_REQUESTS
from proto.site_messages import SiteAnswer, SiteGoodbye, SiteRequest, SiteWelcome
from proto.units import SiteId

CONNECT_S = 3.0
SHUTDOWN_S = 0.5


@dataclass(frozen=True, slots=True)
class Peer:
    """Another site's agent: its name, where it listens, and the context that takes no certificate but its own."""

    site: SiteId
    address: Endpoint
    context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Dialled:
    wire: Wire
    identity: Identity
    welcome: SiteWelcome


async def dial(peer: Peer, ours: Ourselves, *more: SiteRequest) -> Dialled:
    """`more` is sent right behind Hello. Raises SiteUnreachable."""
    wire: Wire | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            wire = await _connect(peer)
            identity = identity_of(wire.writer.get_extra_info("ssl_object"))
            await wire.send(*(SITE_REQUESTS.encode(one) for one in (ours.hello(), *more)))
            return Dialled(wire, identity, _welcomed(await answer_of(wire), peer, ours))
    except (PeerRefused, FrameRefused, OSError, EOFError, RuntimeError) as error:
        if wire is not None:
            wire.abort()
        raise SiteUnreachable(words(error)) from error
    except BaseException:
        if wire is not None:
            wire.abort()
        raise


async def _connect(peer: Peer) -> Wire:
    reader, writer = await asyncio.open_connection(
        peer.address.host,
        peer.address.port,
        limit=BUFFER_BYTES,
        ssl=peer.context,
        ssl_handshake_timeout=CONNECT_S,
        ssl_shutdown_timeout=SHUTDOWN_S,
    )
    return Wire(reader, writer)


async def answer_of(wire: Wire) -> SiteAnswer:
    """The next answer. Raises SiteUnreachable for a goodbye, FrameRefused, or one of wire.ENDS."""
    answer = SITE_ANSWERS.decode(await wire.receive())
    if isinstance(answer, SiteGoodbye):
        raise SiteUnreachable(f"sent away ({answer.code.value}): {answer.text}")
    return answer


def _welcomed(answer: SiteAnswer, peer: Peer, ours: Ourselves) -> SiteWelcome:
    if not isinstance(answer, SiteWelcome):
        raise FrameRefused(f"{type(answer).__name__} instead of SiteWelcome")
    if (answer.site, answer.cluster) != (peer.site, ours.cluster):
        raise FrameRefused(f"the address leads to site {answer.site} of cluster {answer.cluster}")
    return answer
