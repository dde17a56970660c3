"""The site link as the supervisor makes it from a site's settings: it listens, finds its peer, takes renewed files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from site_link_rig import A, B, Events, cluster_of, files, free_ports, make_pki, request, until

from agents.config import parse_agent_config
from agents.settings import SiteSettings
from agents.site_link.build import Sites
from proto.clock import SystemClock
from proto.edge.tls import own_certificate
from proto.errors import BadValue
from proto.units import SiteId
from witness.pki.store import issue

CONFIG = """
cluster: {cluster}
site: {site}
tls: {{ca: {tls.ca}, cert: {tls.cert}, key: {tls.key}}}
state_dir: state
runtime_dir: run
witnesses: [{{id: w1, address: "127.0.0.1:1"}}]
{link}
groups: [{{group: shop}}]
"""


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return make_pki(tmp_path)


def settings(pki: Path, site: SiteId, link: str) -> SiteSettings:
    text = CONFIG.format(cluster=cluster_of(pki), site=site, tls=files(pki, f"agent-{site}"), link=link)
    return parse_agent_config(text, base=pki)


def linked(pki: Path, site: SiteId, other: SiteId, listen: int, there: int) -> SiteSettings:
    peers = f'[{{site: {other}, address: "127.0.0.1:{there}"}}]'
    return settings(pki, site, f'site_link: {{listen: "127.0.0.1:{listen}", peers: {peers}}}')


async def test_two_agents_find_each_other_also_with_renewed_certificates(pki: Path) -> None:
    one, two = free_ports(2)
    events = {A: Events(), B: Events()}
    made = {A: linked(pki, A, B, one, two), B: linked(pki, B, A, two, one)}
    sites = {site: Sites(made[site], events[site], SystemClock(), lambda: 0.0) for site in (A, B)}
    works = []
    try:
        for site, room in sites.items():
            own = files(pki, f"agent-{site}")
            await room.start(own, lambda own=own: own_certificate(own))
            works.append(asyncio.create_task(room.run()))
        await until(lambda: events[A].open == {B} and events[B].open == {A})
        await until(lambda: bool(events[A].trips and events[B].trips))
        assert {site for site, _ in events[A].trips} == {B}
        assert all(took_ns > 0 for _, took_ns in events[A].trips)
        issue(pki, "agent", A, groups=["shop"], force=True)
        sites[A].reload(files(pki, "agent-dc-a"))
        assert sites[A].ask(B, request())
        await until(lambda: events[B].asked == [(A, request())])
        shown = sites[A].status()
        assert shown is not None
        assert (shown["listen"], shown["peers"][0]["connected"]) == (f"127.0.0.1:{one}", True)
        files(pki, "agent-dc-b").key.chmod(0o644)
        with pytest.raises(BadValue, match="lets everyone use it"):
            sites[B].reload(files(pki, "agent-dc-b"))
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        for room in sites.values():
            await room.close()


async def test_a_port_that_is_taken_is_refused_with_the_field(pki: Path) -> None:
    (port,) = free_ports(1)
    listening = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    own = files(pki, "agent-dc-a")
    room = Sites(linked(pki, A, B, port, 1), Events(), SystemClock(), lambda: 0.0)
    with pytest.raises(BadValue, match=r"site_link\.listen"):
        await room.start(own, lambda: own_certificate(own))
    listening.close()
    await room.close()


async def test_without_other_sites_there_is_nothing(pki: Path) -> None:
    room = Sites(settings(pki, A, ""), Events(), SystemClock(), lambda: 0.0)
    await room.start(files(pki, "agent-dc-a"), lambda: own_certificate(files(pki, "agent-dc-a")))
    assert (room.configured, room.status(), room.relays(None)) == (False, None, None)
    assert not room.ask(B, request())
    await room.run()
    await room.close()
