"""Three real witnesses tell people of a lost site: by mail, a signed webhook, apprise and a command, each once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from notify_servers import HttpReceiver, MailReceiver, http_receiver, mail_receiver
from witness_cluster import Cluster, ScriptedAgent

pytestmark = pytest.mark.process
TTL_MS = 8_000
TOLD_S = 90.0
"""A machine that runs other tests beside starves what is not urgent to it; a quiet one needs a few seconds."""
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="


class World:
    def __init__(self, cluster: Cluster, mail: MailReceiver, hook: HttpReceiver, chat: HttpReceiver) -> None:
        self.cluster = cluster
        self.mail, self.hook, self.chat = mail, hook, chat

    def commanded(self) -> list[dict[str, Any]]:
        return [json.loads(one.read_text()) for one in self.cluster.directory.glob("sms.*.json")]

    def told(self, kind: str) -> dict[str, int]:
        """How often each receiver was told of an event of that kind."""
        return {
            "mail": sum(f" {kind})" in mail.get_content() for mail in self.mail.mails),
            "hook": sum(event["kind"] == kind for one in self.hook.letters() for event in one.get("events", ())),
            "chat": sum(f" {kind})" in one["message"] for one in self.chat.letters()),
            "sms": sum(event["kind"] == kind for one in self.commanded() for event in one.get("events", ())),
        }

    async def until(self, kind: str, count: int) -> dict[str, int]:
        try:
            async with asyncio.timeout(TOLD_S):
                while min(self.told(kind).values()) < count:  # noqa: ASYNC110 - polls receivers
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{kind}: {self.told(kind)}\n{self.cluster.logs()[-6_000:]}") from None
        return self.told(kind)


def secret(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def section(directory: Path, mail: int, hook: str, chat: str) -> dict[str, Any]:
    script = directory / "sms"
    script.write_text(
        f'#!/bin/sh\nset -e\nmade=$(mktemp {directory}/sms.XXXXXX)\ncat > "$made"\nmv "$made" "$made.json"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    post = f"mailto://127.0.0.1:{mail}?from=w@example.net&to=ops@example.net&mode=insecure"
    talk = chat.replace("http", "json", 1)
    return {
        "group_wait": "100ms",
        "group_interval": "200ms",
        "targets": [
            {"name": "mail", "severity": "detail", "apprise": {"url_file": secret(directory / "mail.url", post)}},
            {"name": "chat", "severity": "detail", "apprise": {"url_file": secret(directory / "chat.url", talk)}},
            {
                "name": "hook",
                "severity": "detail",
                "webhook": {"url": f"{hook}/in", "secret_file": secret(directory / "hook.secret", SECRET)},
            },
            {"name": "sms", "severity": "detail", "exec": {"command": [str(script)]}},
        ],
        "monitors": [{"name": "kuma", "get": {"url": f"{hook}/push?status=up"}, "every": "10s"}],
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with mail_receiver() as mail, http_receiver() as hook, http_receiver() as chat:
        cluster = Cluster(tmp_path, notify=section(tmp_path, mail.port, hook.url, chat.url))
        try:
            for name in cluster.names:
                made = cluster.witness("init", "-c", str(tmp_path / f"{name}.yaml"))
                assert made.returncode == 0, made.stderr
                cluster.start(name)
            await cluster.leader()
            yield World(cluster, mail, hook, chat)
        finally:
            cluster.end_all()


async def idle(world: World) -> None:
    """Every target knows where it begins, and nothing is under way: no witness would have to wait for another one."""
    async with asyncio.timeout(TOLD_S):
        while True:
            code, seen = await world.cluster.ctl("notify", "list")
            known = code == 0 and seen["leading"] and all(lane["told"] is not None for lane in seen["lanes"])
            if known and not any(lane["under_way"] or lane["waiting"] for lane in seen["lanes"]):
                return


async def test_a_lost_site_is_told_once_by_every_means_also_over_the_leaders_death(world: World) -> None:
    cluster = world.cluster
    await idle(world)
    code, tested = await cluster.ctl("notify", "test", "--leader")  # of every witness: three more processes to start
    assert code == 0, tested
    (asked,) = tested["witnesses"]
    assert {result["target"] for result in asked["results"]} == {"mail", "chat", "hook", "sms"}
    groups = cluster.directory / "groups.yaml"
    groups.write_text(f"groups:\n- {{group: shop, sites: [dc-a, dc-b], ttl: {TTL_MS}ms}}\n", encoding="utf-8")
    code, applied = await cluster.ctl("apply", "-f", str(groups), "--reason", "test")
    assert (code, applied["ok"]) == (0, True), cluster.logs()

    agent = ScriptedAgent(cluster)
    leader = await cluster.leader()
    follower = next(name for name in cluster.names if name != leader)
    async with agent.stream(follower) as ws:
        agent.epoch = await agent.until_granted(ws)
        await agent.answered(ws)
    assert await world.until("claimed", 1) == {"mail": 1, "hook": 1, "chat": 1, "sms": 1}
    await idle(world)
    cluster.kill(leader)  # while the lease runs out, which only the next leader tells
    assert await world.until("expired", 1) == {"mail": 1, "hook": 1, "chat": 1, "sms": 1}
    await world.until("quarantined", 1)
    _each_event_once(world)
    await _acknowledged(world)


def _each_event_once(world: World) -> None:
    letters = [one for one in world.hook.letters() if one["type"] == "events"]
    seqs = Counter(event["seq"] for one in letters for event in one["events"])
    assert set(seqs.values()) == {1}, seqs
    assert not any(one["repeated"] for one in letters)
    headers = next(headers for headers, body in world.hook.requests if body)
    assert headers["webhook-id"] == headers["idempotency-key"]
    assert headers["webhook-signature"].startswith("v1,")
    logs = world.cluster.logs()
    assert '"told"' in logs
    assert SECRET not in logs
    assert "mailto://" not in logs


async def _acknowledged(world: World) -> None:
    code, seen = await world.cluster.ctl("notify", "list")
    assert code == 0
    (alarm,) = seen["alarms"]
    assert (alarm["kind"], alarm["group"], alarm["acknowledged"]) == ("expired", "shop", None)
    code, done = await world.cluster.ctl("notify", "ack", str(alarm["alarm"]), "--reason", "on my way")
    assert (code, done["changed"]) == (0, True)
    code, seen = await world.cluster.ctl("notify", "list")
    assert seen["alarms"][0]["acknowledged"] == "ann"
    code, refused = await world.cluster.ctl("notify", "ack", "99999", "--reason", "x")
    assert (code, refused["reason"]) == (1, "unknown-alarm")
    assert await world.until("acknowledged", 1) == {"mail": 1, "hook": 1, "chat": 1, "sms": 1}
