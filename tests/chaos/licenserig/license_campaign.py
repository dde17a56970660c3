"""Runs a plan: one round after the other, each judged when it is over. A world in which something broke ends there."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chaosrig.chaos_campaign import Interrupted, signals_wait, world_after_world
from chaosrig.chaos_ground import Missing, now_ns, wait_for
from licenserig.license_blows import strike
from licenserig.license_layout import SITES, other_site
from licenserig.license_ledger import prove
from licenserig.license_outcome import Outcome
from licenserig.license_plan import BEHIND, LAST, Round
from licenserig.license_told import Takeover, judge_told, read_told
from licenserig.license_world import Settled, World

TAKEOVER_S = 180.0
"""A bound and no promise: on a busy machine everything starts late."""
TOLD_S = 60.0
WRITE = "INSERT INTO tracking.messages (device, body) VALUES ('the run', '{body}')"
READ = "SELECT COUNT(*) FROM tracking.messages WHERE body = '{body}'"
Json = dict[str, Any]


@dataclass(slots=True)
class Campaign:
    """Owned by the run. `perform` leaves no process, whatever happened."""

    make: Callable[[], World]
    seed: int
    say: Callable[[str], None]
    keep: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    proofs: list[Json] = field(default_factory=list)
    told: list[Json] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    double_ms: float = 0.0
    """Of all the time that the worlds lived, also between rounds."""
    violations: int = 0
    exchanges: int = 0
    signalled: int = 0
    wall_s: float = 0.0
    _moves: list[Takeover] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failed and not self.signalled

    def perform(self, plan: list[Round]) -> None:
        self.signalled, self.wall_s = world_after_world(plan, self._in_one_world)

    # -- a world ------------------------------------------------------------------------------------------------

    def _in_one_world(self, rounds: list[Round]) -> list[Round]:
        """As far as it goes; what is left."""
        with signals_wait():
            world = self.make()
        self.say(f"a world begins: {world.root}")
        self._moves = []
        left = list(rounds)
        good = False
        try:
            calm = world.begin()
            self.say(f"it is up: {calm.site} is active")
            while left:
                what = left.pop(0)
                outcome, calm = self._round(world, what, calm)
                if outcome.bad:
                    return left
            good = self._prove(world)
            return left
        except (Missing, AssertionError, OSError, subprocess.SubprocessError) as fault:
            self._fail("the beginning or the end of a world", f"{type(fault).__name__}: {fault}")
            return []
        except Interrupted:
            good = True
            raise
        finally:
            with signals_wait():
                self._close(world, good=good)

    def _close(self, world: World, *, good: bool) -> None:
        if world.layout.vendor_record.exists():
            record = world.record()
            self.double_ms += record.double_ms(now_ns())
            self.violations += len(record.violations)
            self.exchanges += record.exchanges
        if self.keep or not good:
            world.keep_evidence()
        world.end()
        if self.keep or not good:
            self.kept.append(str(world.root))
            self.say(f"kept: {world.root}")
        else:
            shutil.rmtree(world.root, ignore_errors=True)

    def _fail(self, where: str, words: str) -> None:
        self.failed.append(f"{where}: {words}")
        self.say(f"FAILED {self.failed[-1]}")

    # -- a round ------------------------------------------------------------------------------------------------

    def _round(self, world: World, what: Round, calm: Settled) -> tuple[Outcome, Settled]:
        outcome = Outcome(what, load=os.getloadavg()[0], site=calm.site, epoch=calm.epoch)
        record = world.record()
        since, refused, outcome.keys_before = now_ns(), len(record.violations), record.exchanges
        head, leader = world.head(), world.looks.leader()
        try:
            struck = strike(world, what, calm.site)
            outcome.struck_ns = struck.at_ns
            try:
                _take_over(world, outcome)
            finally:
                struck.heal()
            _in_use(world, outcome)
            calm = _bring_back(world, outcome)
            outcome.epoch_after = calm.epoch
            self._note_move(world, outcome, head, same_leader=leader == world.looks.leader())
        except (Missing, AssertionError, OSError, subprocess.SubprocessError) as fault:
            outcome.broken.append(f"{type(fault).__name__}: {fault}")
        outcome.see(world.record(), now_ns(), since, refused)
        self.outcomes.append(outcome)
        self._say_round(outcome)
        return outcome, calm

    def _note_move(self, world: World, outcome: Outcome, head: int, *, same_leader: bool) -> None:
        taker = other_site(outcome.site)
        claims = [one for one in world.events(head) if one["kind"] == "claimed" and one["site"] == taker]
        if not claims:
            raise Missing(f"the ledger tells of no claim of {taker} behind entry {head}")
        at_ms = _wall_ms(claims[0]["at"])
        self._moves.append(Takeover(outcome.round.number, claims[0]["seq"], at_ms, may_repeat=not same_leader))

    def _say_round(self, outcome: Outcome) -> None:
        what = outcome.round
        figures = {"takeover": outcome.takeover_ms, "answers": outcome.answer_ms}
        said = ", ".join(f"{name} {value:.0f} ms" for name, value in figures.items() if value is not None)
        seeded = ", seeded anew" if outcome.seeded else ""
        where = f"{what.number} {what.kind} ({what.renewal}) {outcome.site} -> {other_site(outcome.site)}"
        self.say(f"{where}: {said}; double {outcome.double_ms:.1f} ms{seeded}; load {outcome.load:.1f}")
        for words in outcome.wrong():
            self._fail(f"round {what.number} ({what.told()})", words)

    # -- the end of a world -------------------------------------------------------------------------------------

    def _prove(self, world: World) -> bool:
        """Whether the ledger, the receivers and the logs say what they should."""
        proof, wrong = prove(world, random.Random(f"entry-{self.seed}").random())
        self.proofs.append(proof)
        told, untold = self._told(world)
        self.told.append(told)
        wrong += [*untold, *_keys_in_clear(world)]
        for words in wrong:
            self._fail("the end", words)
        return not wrong

    def _told(self, world: World) -> tuple[Json, list[str]]:
        def all_told() -> bool:
            found, _ = self._told_now(world)
            return not any(way["missing"] for way in found.values())

        with contextlib.suppress(Missing):  # what is missing is said
            world.until(all_told, "every takeover is told", TOLD_S)
        return self._told_now(world)

    def _told_now(self, world: World) -> tuple[Json, list[str]]:
        with world.layout.told_record.open(encoding="utf-8") as lines:
            return judge_told(self._moves, read_told(lines))


def _take_over(world: World, outcome: Outcome) -> None:
    """Until the other site's platform was let in by the vendor and answers."""
    taker, struck_ns = other_site(outcome.site), outcome.struck_ns

    def taken() -> int | None:
        record = world.record()
        if record.violations:
            raise Missing("the vendor refused")
        start = record.start_after(taker, struck_ns)
        return None if start is None else start.at_ns

    outcome.taken_ns = wait_for(world, taken, f"{taker} takes over", TAKEOVER_S)  # type: ignore[arg-type]  # it tends
    world.until(lambda: world.answers(taker), f"the platform answers at {taker}", TAKEOVER_S)
    outcome.answered_ns = now_ns()


def _in_use(world: World, outcome: Outcome) -> None:
    """The new site's database is the one that is written to, has the newest key, and knows the epoch."""
    taker = other_site(outcome.site)
    server = world.servers[taker]
    world.until(lambda: world.agent(taker).get("state") == "active", f"{taker} is active")
    world.until(lambda: server.key() == world.record().key, f"{taker}'s row has the newest key")
    epoch = int(server.sql("SELECT MAX(epoch) FROM thirdsite.epoch"))
    if server.sql("SELECT @@global.read_only") != "0" or epoch <= outcome.epoch:
        raise Missing(f"the database of {taker} takes no writes, or knows no epoch above {epoch}")
    server.sql(WRITE.format(body=f"round {outcome.round.number}"))
    if outcome.round.renewal == LAST and world.record().exchanges < outcome.keys_before + 2:
        raise Missing("the key did not change as the platform stopped")
    said = world.checked(taker)
    if said:
        raise Missing(f"the product's own check does not find the platform up: {said}")


def _bring_back(world: World, outcome: Outcome) -> Settled:
    """As an operator does: what was killed is started, the former database follows the new one, all is calm again."""
    former, taker = outcome.site, other_site(outcome.site)
    server, unit = world.servers[former], world.units.all[SITES[former]]
    if not server.alive():
        server.start()
    world.units.start(unit)
    world.until(lambda: server.db("out-of-role")[0] == 0, f"the database of {former} is read-only", TAKEOVER_S)
    outcome.seeded = server.rejoin(world.servers[taker])
    if outcome.seeded and outcome.round.renewal not in (BEHIND, LAST):
        outcome.broken.append(f"{former} had written what {taker} never got, and nobody had cut replication")
    calm = world.settled()
    if calm.site != taker:
        raise Missing(f"{calm.site} is active in the end, not {taker}")
    rows = server.sql(READ.format(body=f"round {outcome.round.number}"))
    if rows != "1":
        raise Missing(f"{rows} rows of what was written at {taker} are at {former}")
    return calm


def _keys_in_clear(world: World) -> list[str]:
    """No key that the vendor ever gave stands in a log, in the ledger or in what was exported."""
    keys = [key.encode() for key in world.record().keys if key != "key-1"]
    files = [*(world.root / "logs").iterdir(), *world.root.glob("evidence*.json")]
    return [
        f"a license key stands in clear in {path.name}"
        for path in files
        if (content := path.read_bytes()) and any(key in content for key in keys)
    ]


def _wall_ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1_000)
