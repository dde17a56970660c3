"""Rounds on one cluster: load, a death at a named moment, restart, a barrier, and the judgement on what is there."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from crashrig.chain import START, linked
from crashrig.cluster import ANSWER_S, Cluster, Lost, Stuck, Witness
from crashrig.plan import Mode, Round, Way

CLIENTS = 3
ATTEMPT_S = 0.4
ACKNOWLEDGED_S = 20.0
REACHED_S = 5.0
LAG_ENTRIES = 3
"""So many times what the log keeps is written while a witness is away."""


@dataclass
class Result:
    rounds: int = 0
    kills: int = 0
    stops: int = 0
    disk_faults: int = 0
    acknowledged: int = 0
    resent: int = 0
    lost: int = 0
    images_restored: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    points_hit: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)


class Campaign:
    """One cluster's share of the rounds. `base` is the end of everything that was judged so far."""

    def __init__(self, cluster: Cluster, result: Result) -> None:
        self.cluster = cluster
        self.result = result
        self._base: list[Any] = [0, START.hex()]
        self._attempts: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._acknowledged: set[str] = set()
        self._writing = False
        self._restores: dict[str, int] = {}

    async def round(self, todo: Round) -> None:
        """Raises Lost or Stuck."""
        rng = random.Random(todo.seed)
        await self.cluster.start_dead()
        leader = await self.cluster.leader()
        async with self._load(todo, rng):
            victim = await self._prepare(todo, rng, leader)
            if await self._reached(todo, victim):
                await self._after(todo, rng, victim)
            await asyncio.sleep(rng.random() * 0.08)  # the living go on alone for a while
            await self.cluster.start_dead()
        await self.judge(todo.number, rng)
        self.result.rounds += 1
        self.result.modes[todo.mode.value] += 1

    # -- load -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _load(self, todo: Round, rng: random.Random) -> AsyncIterator[None]:
        self._writing = True
        clients = [
            asyncio.create_task(self._client(f"{todo.number}-{at}", todo.large, random.Random(rng.random())))
            for at in range(CLIENTS)
        ]
        try:
            yield
            self._writing = False
            async with asyncio.timeout(2 * ACKNOWLEDGED_S):
                await asyncio.gather(*clients)
        finally:
            self._writing = False
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, name: str, large: bool, rng: random.Random) -> None:
        number = 0
        while self._writing:
            number += 1
            await self.write(f"{name}-{number}", rng.randrange(2_000, 60_000) if large else 0, rng)

    async def write(self, text: str, size: int, rng: random.Random) -> None:
        """Until it is acknowledged, by whichever witness; bounded."""
        ends = time.monotonic() + ACKNOWLEDGED_S
        while time.monotonic() < ends:
            witness = rng.choice(list(self.cluster.witnesses.values()))
            if not witness.alive:
                await asyncio.sleep(0.001)
                continue
            self._attempts[text] += 1
            if await witness.do(text, size, ATTEMPT_S):
                self._acknowledged.add(text)
                self.result.acknowledged += 1
                self.result.resent += self._attempts[text] - 1
                return
        raise Stuck(f"{text} was not acknowledged within {ACKNOWLEDGED_S} s of attempts")

    # -- the way to the point -------------------------------------------------------------------------------

    async def _prepare(self, todo: Round, rng: random.Random, leader: Witness) -> Witness:
        """The victim, armed."""
        others = [one for one in self.cluster.witnesses.values() if one is not leader]
        if todo.way in (Way.LOAD, Way.LEADER):
            victim = leader if todo.way is Way.LEADER else rng.choice([leader, *others])
            await victim.ask("armed", "arm", todo.order, self._companions(todo, victim))
        elif todo.way is Way.ELECTION:
            victim = rng.choice(others)
            await victim.ask("armed", "arm", todo.order, self._companions(todo, victim))
            await self._kill(leader)
        else:
            victim = rng.choice([leader, *others])
            await self._kill(victim)
            if todo.way is Way.LAG:
                await self._written(LAG_ENTRIES * self.cluster.entries_max)
            await victim.start((todo.order, self._companions(todo, victim)))
        return victim

    def _companions(self, todo: Round, victim: Witness) -> list[int]:
        return [one.pid for one in self.cluster.alive if one is not victim] if todo.mode is Mode.ALL else []

    async def _kill(self, witness: Witness) -> None:
        await witness.kill()
        self.result.kills += 1

    async def _written(self, count: int) -> None:
        goal, ends = self.result.acknowledged + count, time.monotonic() + ACKNOWLEDGED_S
        while self.result.acknowledged < goal:
            if time.monotonic() > ends:
                raise Stuck(f"{count} commands were not acknowledged by two witnesses within {ACKNOWLEDGED_S} s")
            await asyncio.sleep(0.005)

    async def _reached(self, todo: Round, victim: Witness) -> bool:
        died = asyncio.ensure_future(victim.dead.wait())
        await asyncio.wait([victim.hit, died], timeout=REACHED_S, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if victim.hit.done():
            self.result.points_hit[todo.point] += 1
            return True
        if not victim.alive:
            raise Lost(f"{victim.name} ended by itself before {todo.point}: {victim.last_words or 'no last words'}")
        await victim.ask("disarmed", "disarm")
        if victim.hit.done():
            self.result.points_hit[todo.point] += 1
            return True
        self.result.missed[todo.point] += 1
        return False

    async def _after(self, todo: Round, rng: random.Random, victim: Witness) -> None:
        if todo.mode is Mode.STOP:
            self.result.stops += 1
            await asyncio.sleep(0.3 + rng.random() * 0.5)  # longer than an election
            victim.signal(signal.SIGCONT)
            return
        await victim.gone()
        if todo.mode is Mode.FAIL:
            self.result.disk_faults += 1
            if "DurabilityLost" not in victim.last_words:
                raise Lost(f"{victim.name} did not end for its disk's sake: {victim.last_words!r}")
            return
        self.result.kills += 1
        if todo.mode is Mode.ALL:
            for one in self.cluster.witnesses.values():
                if one is not victim and one.lives:
                    await one.gone()
                    self.result.kills += 1
        elif todo.mode is Mode.TWO and self.cluster.alive:
            await asyncio.sleep(rng.random() * 0.03)  # at any moment of what the first death caused
            await self._kill(rng.choice(self.cluster.alive))

    # -- the judgement --------------------------------------------------------------------------------------

    async def judge(self, number: int, rng: random.Random) -> None:
        barrier = f"barrier:{number}"
        await self._commit_barrier(barrier, rng)
        texts = await self._agreed(barrier)
        chain = bytes.fromhex(self._base[1])
        for key in texts:
            chain = linked(chain, key.encode())
        self._seen.update(text for text in texts if not text.startswith("barrier:"))
        end = [self._base[0] + len(texts), chain.hex()]
        missing = sorted(self._acknowledged - self._seen.keys())
        if missing:
            self.result.lost += len(missing)
            raise Lost(f"{len(missing)} acknowledged commands are gone: {', '.join(missing[:10])}")
        for text in texts:
            if not text.startswith("barrier:") and self._seen[text] > self._attempts[text]:
                raise Lost(f"{text} is there {self._seen[text]} times, proposed {self._attempts[text]} times")
        self._acknowledged.clear()
        self._base = end
        await self._note_restores()

    async def _commit_barrier(self, barrier: str, rng: random.Random) -> None:
        ends = time.monotonic() + ACKNOWLEDGED_S
        while time.monotonic() < ends:
            if await rng.choice(self.cluster.alive).do(barrier, 0, ATTEMPT_S):
                return
        raise Stuck(f"{barrier} was not acknowledged within {ACKNOWLEDGED_S} s, with all witnesses running")

    async def _agreed(self, barrier: str) -> list[str]:
        """Everything since the last judgement, barriers among it, once all witnesses show the same."""
        ends = time.monotonic() + ANSWER_S
        while True:
            told = {}
            for one in self.cluster.witnesses.values():
                told[one.name] = self._since_base(await one.ask("segments", "segments"))
            copies = list(told.values())
            if all(copy == copies[0] for copy in copies) and barrier in copies[0]:
                return copies[0]
            if time.monotonic() > ends:
                lengths = {name: len(copy) for name, copy in told.items()}
                raise Stuck(f"the copies do not become equal within {ANSWER_S} s: {lengths}")
            await asyncio.sleep(0.01)

    def _since_base(self, segments: list[dict[str, Any]]) -> list[str]:
        texts: list[str] = []
        at = self._base
        for segment in segments:
            if segment["base"] == at:
                at = segment["end"]
                texts += [*segment["texts"], segment["barrier"]]
            elif segment["end"][0] > at[0]:
                raise Lost(f"a copy went another way: {segment['barrier']} does not follow {at}")
        if texts:
            chain = bytes.fromhex(self._base[1])
            for key in texts:
                chain = linked(chain, key.encode())
            if [self._base[0] + len(texts), chain.hex()] != at:
                raise Lost("a copy's chain does not fit its texts")
        return texts

    async def _note_restores(self) -> None:
        for one in self.cluster.witnesses.values():
            key = f"{one.name}-{one.lives}"
            restores = (await one.ask("look", "look"))["restores"]
            self.result.images_restored += restores - self._restores.get(key, 0)
            self._restores[key] = restores
