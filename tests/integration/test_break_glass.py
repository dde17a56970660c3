"""The whole story with real processes: all witnesses are killed, dc-a is stopped, dc-b goes on under a permit, also
over an upgrade of its agent, the witnesses come back from their disks and adopt it without a stop, dc-a comes back
dormant.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from witness_cluster import Cluster

from proto.permit import AFTER_MS_MIN
from witness.pki.store import issue

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]
WAIT_S = 60.0
CLI_S = 30.0
AGENT = (sys.executable, "-m", "agents")
WITNESS = (sys.executable, "-m", "witness")


class Story:
    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.cluster = Cluster(directory)
        issue(self.cluster.pki, "agent", "dc-b", groups=["shop"])
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        for site in ("dc-a", "dc-b"):
            self._configure(site)

    def _configure(self, site: str) -> None:
        own = self.cluster.pki / f"agent-{site}"
        where = self.dir / site
        where.mkdir()
        beat = f"while :; do date +%s%N >> {where}/beats; sleep 0.1; done"
        witnesses = [{"id": name, "address": f"127.0.0.1:{port}"} for name, port in self.cluster.listen.items()]
        group = {
            "group": "shop",
            "activation": {"steps": [{"name": "start", "command": ["/bin/sh", "-c", f"({beat}) & :"]}]},
            "probes": [{"name": "ok", "role": "ready", "kind": "exec", "command": ["/bin/true"], "interval": "500ms"}],
        }
        config = {
            "cluster": self.cluster.cluster_id,
            "site": site,
            "tls": {part: str(own / f"{part}.pem") for part in ("ca", "cert", "key")},
            "state_dir": "state",
            "runtime_dir": "run",
            "witnesses": witnesses,
            "groups": [group],
        }
        (where / "agent.yaml").write_text(json.dumps(config), encoding="utf-8")

    def config(self, site: str) -> str:
        return str(self.dir / site / "agent.yaml")

    def start(self, site: str) -> None:
        with (self.dir / f"{site}.log").open("ab") as log:
            self.agents[site] = subprocess.Popen([*AGENT, "run", "-c", self.config(site)], stdout=log, stderr=log)

    def stop(self, site: str) -> None:
        process = self.agents.pop(site)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(CLI_S)
        finally:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        self.cluster.end_all()
        for site in list(self.agents):
            self.stop(site)

    def cli(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=CLI_S, check=False)

    async def group_of(self, site: str) -> dict[str, Any]:
        done = await asyncio.to_thread(self.cli, *AGENT, "status", "-c", self.config(site), "--json")
        if done.returncode:
            return {"state": done.stderr, "epoch": 0, "permit": None, "active": False}
        (group,) = json.loads(done.stdout)["groups"]
        return dict(group)

    async def until(self, site: str, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return await until(lambda: self.group_of(site), right, self.log)

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3_000:] for path in sorted(self.dir.glob("*.log")))

    def beats(self, site: str) -> list[int]:
        path = self.dir / site / "beats"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


async def until(
    look: Callable[[], Awaitable[dict[str, Any]]], right: Callable[[dict[str, Any]], bool], log: Callable[[], str]
) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                seen = await look()
                if right(seen):
                    return seen
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail(f"still {seen}\n{log()}")


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    made = Story(tmp_path)
    for name in made.cluster.names:
        assert made.cluster.witness("init", "-c", str(tmp_path / f"{name}.yaml")).returncode == 0
        made.cluster.start(name)
    yield made
    made.end_all()


def key_of(story: Story) -> str:
    words = story.dir / "words"
    words.write_text("correct horse battery\n")
    made = story.cli(
        *WITNESS, "pki", "break-glass", "init", "--cluster", story.cluster.cluster_id,
        "--dir", str(story.dir / "stick"), "--passphrase-file", str(words), "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


def permit_of(story: Story, epoch: int) -> Path:
    out = story.dir / "shop.permit"
    made = story.cli(
        *WITNESS, "pki", "break-glass", "permit", "--dir", str(story.dir / "stick"),
        "--group", "shop", "--site", "dc-b", "--epoch-above", str(epoch),
        "--passphrase-file", str(story.dir / "words"), "--out", str(out),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return out


async def begun(story: Story) -> int:
    """dc-a is active, both agents know the terms; the epoch."""
    groups = story.dir / "groups.yaml"
    terms = f"{{key: {key_of(story)}, after: {AFTER_MS_MIN}ms}}"
    groups.write_text(f"groups:\n  - {{group: shop, sites: [dc-a, dc-b], ttl: 3s, break_glass: {terms}}}\n")
    await story.cluster.leader()
    status: Any = None
    for _ in range(50):  # until the feature level has risen, a moment after the first election
        code, status = await story.cluster.ctl("apply", "-f", str(groups))
        if code == 0:
            break
        await asyncio.sleep(0.2)
    assert code == 0, status
    story.start("dc-a")
    await story.until("dc-a", lambda group: group["active"])
    story.start("dc-b")
    await story.until("dc-b", lambda group: group["permit"] is not None)
    return int((await story.until("dc-a", lambda group: group["permit"] is not None))["epoch"])


async def test_the_glass_is_broken_and_mended(story: Story) -> None:
    epoch = await begun(story)
    for name in story.cluster.names:
        story.cluster.kill(name)
    permit = permit_of(story, epoch)
    phrase = "dc-a is stopped and stays stopped, activate shop at dc-b"
    use = (*AGENT, "break-glass", "shop", str(permit), "-c", story.config("dc-b"))
    early = await asyncio.to_thread(story.cli, *use, "--confirm", phrase)
    assert (early.returncode, "they must have been silent" in early.stderr) == (78, True), early.stderr
    story.stop("dc-a")
    terms = (await story.until("dc-b", lambda group: group["permit"]["silent_ms"] > group["permit"]["after_ms"]))[
        "permit"
    ]
    assert terms["others"] == ["dc-a"]
    wrong = await asyncio.to_thread(story.cli, *use, "--confirm", "yes")
    assert (wrong.returncode, "the phrase is not the one" in wrong.stderr) == (78, True)
    taken = await asyncio.to_thread(story.cli, *use, "--confirm", phrase)
    assert taken.returncode == 0, taken.stderr
    assert "Nothing checks that dc-a does not run" in taken.stdout
    under = await story.until("dc-b", lambda group: group["active"])
    assert under["permit"]["under"]["epoch"] == under["epoch"] > epoch
    again = await asyncio.to_thread(story.cli, *use, "--confirm", phrase)
    assert (again.returncode, "it needs no other" in again.stderr) == (78, True)
    shown = await asyncio.to_thread(story.cli, *AGENT, "status", "-c", story.config("dc-b"))
    assert "under break-glass permit" in shown.stdout
    await upgraded_under(story, under)

    for name in story.cluster.names:
        story.cluster.start(name)
    adopted = await story.until("dc-b", lambda group: group["epoch"] > under["epoch"])
    assert (adopted["active"], adopted["permit"]["under"]) == (True, None)
    story.start("dc-a")
    await story.until("dc-a", lambda group: group["state"] == "standby")

    async def ledger() -> dict[str, Any]:
        _, said = await story.cluster.ctl("status", "shop")
        return dict(said)

    seen = await until(ledger, lambda said: said["permits"]["away"] == [], story.log)
    assert (seen["holder"], seen["permits"]["under_permit"]) == ("dc-b", [])
    await asyncio.sleep(1.0)  # it goes on beating under the lease
    assert_one_after_the_other(story)
    still = await story.group_of("dc-b")
    assert (still["active"], still["epoch"]) == (True, adopted["epoch"])


async def upgraded_under(story: Story, under: dict[str, Any]) -> None:
    """The agent is replaced while no witness lives: the next one goes on under the permit that the former one took."""
    pid = story.agents["dc-b"].pid
    done = await asyncio.to_thread(story.cli, *AGENT, "upgrade", "-c", story.config("dc-b"), "--wait", "20")
    assert done.returncode == 0, done.stderr + story.log()
    assert "still holding shop" in done.stdout
    later = await story.until("dc-b", lambda group: group["active"])
    assert (later["epoch"], later["permit"]["under"]) == (under["epoch"], under["permit"]["under"])
    assert story.agents["dc-b"].pid == pid
    assert story.agents["dc-b"].poll() is None


def assert_one_after_the_other(story: Story) -> None:
    a, b = story.beats("dc-a"), story.beats("dc-b")
    assert a
    assert b
    assert max(a) < min(b), "dc-a beat after dc-b had begun"
    gaps = [later - earlier for earlier, later in itertools.pairwise(b)]
    assert max(gaps) < 3_000_000_000, "dc-b was stopped in between"
