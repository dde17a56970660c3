"""What is asked of the world: ports and components while the site is dormant, and every witness.

Rule: bounded in time, all at once, and nothing is said that could be taken for an agent: a witness sees a TLS
handshake and its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

from agents.components.base import CANNOT_TELL
from agents.components.build import build_components
from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.probes.tcp import connect_problem
from agents.runtime.identity import lead_context, require_own, require_own_member, witness_contexts
from agents.settings import Endpoint, GroupSpec
from proto.errors import BadValue, RemoteFault
from proto.timing import ANSWER_WAIT_MS_MIN
from proto.units import WitnessId

ATTEMPTS = 3
CONNECT_S = 3.0
PORT_MS = 1_000
LEAD = WitnessId("lead")
"""Whom a member asks, in the place of witnesses."""
MAJORITY_NEEDED = "the lease needs a majority of the witnesses; with fewer this site cannot hold it"
LEAD_NEEDED = "this host holds its part of the lease only while its lead answers"
LOCAL_NAMES = ("127.", "::1", "localhost")


async def check_live(host: Host) -> list[Finding]:
    looks = [_components(host, group) for group in host.enforced()]
    looks += [_ports(host, group) for group in host.enforced()]
    found = await asyncio.gather(*looks, _witnesses(host))
    return [finding for findings in found for finding in findings]


async def _components(host: Host, group: GroupSpec) -> list[Finding]:
    if not host.dormant(group.group):
        return []
    root = host.root / "sys/fs/cgroup"
    components = build_components(host.settings.site, group.group, group.components, root)
    seen = await asyncio.gather(*(one.still_up() for one in components))
    why = "nothing of the active role may run here without the lease"
    return [
        Finding(Severity.BROKEN, one.spec.name, words, Promise.NO_SPLIT_BRAIN, why, _remedy(words), group.group)
        for one, words in zip(components, seen, strict=True)
        if words
    ]


def _remedy(words: str) -> str:
    """What cannot be looked at counts as up, but there may be nothing to stop."""
    if words.startswith(CANNOT_TELL):
        return "make it answer, as root on this host; until then it counts as up, and the site never as down"
    return "stop it; find out who started it (above)"


async def _ports(host: Host, group: GroupSpec) -> list[Finding]:
    """Ports that the configuration knows as the platform's, on this host, and that answer though it is dormant."""
    if not host.dormant(group.group):
        return []
    places = {one.target for one in group.checks if one.target is not None}
    places |= {one.target for one in group.probes if one.role.value == "service" and one.target is not None}
    places = {place for place in places if place.host.startswith(LOCAL_NAMES)}
    ordered = sorted(places)
    seen = await asyncio.gather(*(connect_problem(place.host, place.port, PORT_MS) for place in ordered))
    why = "something serves in the active role without the lease"
    return [
        Finding(
            Severity.BROKEN,
            str(place),
            "takes connections while the site is dormant",
            Promise.NO_SPLIT_BRAIN,
            why,
            f"find out who listens (ss -ltnp 'sport = :{place.port}') and stop it",
            group.group,
        )
        for place, problem in zip(ordered, seen, strict=True)
        if not problem
    ]


async def _witnesses(host: Host) -> list[Finding]:
    contexts: dict[WitnessId, ssl.SSLContext] = {}
    asked, why = host.settings.witnesses, MAJORITY_NEEDED
    if host.member is not None:
        asked, why = ((LEAD, host.member.lead),), LEAD_NEEDED
    with contextlib.suppress(BadValue, RemoteFault, OSError):  # told by the check of the certificate
        if host.member is None:
            contexts = witness_contexts(host.settings, require_own(host.settings))
        else:
            contexts = {LEAD: lead_context(host.member, require_own_member(host.member))}
    looks = [_one_witness(witness, address, contexts.get(witness)) for witness, address in asked]
    seen = await asyncio.gather(*looks)
    return list(_judge(asked, seen, why))


def _judge(
    asked: tuple[tuple[WitnessId, Endpoint], ...], seen: list[tuple[str, float]], needed: str
) -> Iterator[Finding]:
    reached = sum(not problem for problem, _ in seen)
    majority = len(asked) // 2 + 1
    for (witness, address), (problem, rtt_ms) in zip(asked, seen, strict=True):
        if problem:
            severity = Severity.WARNING if reached >= majority else Severity.BROKEN
            remedy = "look at the network, the firewall, its log and the names in its certificate"
            yield Finding(severity, f"{witness} ({address})", problem, Promise.COMES_BACK, needed, remedy)
        else:
            late = rtt_ms > ANSWER_WAIT_MS_MIN
            what = f"reached, {rtt_ms:.1f} ms a round trip"
            why = f"renewals are asked for again after {ANSWER_WAIT_MS_MIN} ms; a quick round trip leaves room for that"
            severity = Severity.WARNING if late else Severity.NOTE
            remedy = "choose a larger ttl, or a nearer witness" if late else "nothing to do"
            yield Finding(severity, f"{witness} ({address})", what, Promise.COMES_BACK, why, remedy)


async def _one_witness(witness: WitnessId, address: Endpoint, context: ssl.SSLContext | None) -> tuple[str, float]:
    """What stands against it, or '' and the best of some round trips in milliseconds."""
    loop = asyncio.get_running_loop()
    best = float("inf")
    try:
        for _ in range(ATTEMPTS):
            began = loop.time()
            await _connect(address, None)
            best = min(best, loop.time() - began)
        if context is not None:
            await _connect(address, context)
    except (TimeoutError, OSError, RemoteFault) as error:
        why = (
            getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error) or "no answer in time"
        )
        return f"{witness} cannot be reached: {why}", 0.0
    return "", best * 1_000


async def _connect(address: Endpoint, context: ssl.SSLContext | None) -> None:
    async with asyncio.timeout(CONNECT_S):
        name = address.host if context is not None else None
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
