"""The watchers of an agent: what they tell the core, what is sealed when it asks, what a change of the role voids."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from site_license_rig import CLUSTER, SITE, G, L, SiteOf, version

from agents.core.effects import KeepSealed, LookAtKey, SealKey
from agents.core.license import Look
from agents.license.component import LicenseComponent, ask_probe
from agents.license.keeper import KEY_FILE, NO_KEY, OLD_KEY
from agents.license.place import MemoryPlace
from agents.license.room import LicenseRoom
from agents.license.stance import Stance, may_seal
from agents.license.step import Refused, restore
from proto.errors import DurabilityLost
from proto.health import SiteState
from proto.license import EscrowItem
from proto.units import Epoch, GroupId

ACTIVE, DORMANT = Stance(1, Epoch(2)), Stance(2, Epoch(0))


class World:
    """A room with one license in a file, a stance by hand, and what the driver was told."""

    def __init__(self, site: SiteOf) -> None:
        self.site = site
        self.stance = ACTIVE
        self.looks: list[tuple[Look, str, int, bool]] = []
        self.probes: list[tuple[bool | None, str]] = []
        self.room = LicenseRoom(CLUSTER, SITE, site.root, {G: (site.spec,)}, lambda *_which: self.stance)

    @property
    def one(self):
        return self.room._all[G, L]

    def license_looked(self, group: GroupId, name, look, problem, epoch, *, reseal) -> None:
        assert (group, name) == (G, L)
        self.looks.append((look, problem, epoch, reseal))

    def license_probed(self, group, name, activated, problem) -> None:
        self.probes.append((activated, problem))

    async def look(self) -> tuple[Look, str]:
        await self.room._look(self.one, self.stance, self)
        return self.looks[-1][:2]

    async def seal(self, epoch: int = 2, number: int = 1) -> str:
        kept, problem = await self.room.seal(SealKey(G, L, version(epoch, number)))
        self.kept = kept
        return problem

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.room.run(self))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, done, limit_s: float = 5.0) -> None:
        async with asyncio.timeout(limit_s):
            while not done():  # noqa: ASYNC110 - polls what other tasks leave
                await asyncio.sleep(0.01)


@pytest.fixture
def world(tmp_path):
    made = World(SiteOf(tmp_path / "a", watch_ms=100, probe_ms=200))
    made.site.put("KEY-1")
    return made


async def test_a_look_tells_same_changed_old_missing_and_wrong(world):
    assert await world.look() == (Look.CHANGED, "")
    assert await world.seal() == ""
    assert await world.look() == (Look.SAME, "")
    world.site.put("KEY-2")
    assert await world.look() == (Look.CHANGED, "")
    assert await world.seal(number=2) == ""
    world.site.put("KEY-1")
    assert await world.look() == (Look.FAILED, OLD_KEY)
    world.site.put(None)
    assert await world.look() == (Look.FAILED, NO_KEY)
    world.site.key_file.chmod(0o644)
    assert await world.look() == (Look.FAILED, KEY_FILE)


async def test_a_dormant_site_notes_what_is_in_place_and_an_old_key_there_is_no_problem(world):
    await world.seal()
    world.site.put("KEY-2")
    await world.seal(number=2)
    world.stance = DORMANT
    world.site.put("KEY-1")
    assert await world.look() == (Look.FAILED, "")
    assert world.site.keeper().escrow.seen is None
    world.site.put("KEY-2")
    await world.look()
    assert world.site.keeper().escrow.seen == version(2, 2)


@pytest.mark.parametrize("gone", [None, "x" * 5000], ids=["no key", "no key by its size"])
async def test_a_place_without_a_key_is_compared_afresh_when_one_is_back(world, gone):
    """A database that was emptied and filled from a backup: what is there then followed nothing that was seen here."""
    await world.seal()
    world.stance = DORMANT
    await world.look()
    world.site.keeper().file.note_in_place(version(2, 1))
    assert world.site.keeper().escrow.seen == version(2, 1)
    world.site.put(gone)
    await world.look()
    keeper = world.site.keeper()
    assert (keeper.escrow.seen, keeper.file.placed()) == (None, None)
    world.site.put("KEY-0")
    await world.look()
    with pytest.raises(Refused, match="none that this site knows"):
        await restore(world.site.keeper(), world.site.source, None)


async def test_a_place_that_cannot_be_reached_says_nothing_of_what_it_held(world):
    """A database that restarts with its promotion: its successor key is known as one all the same."""
    await world.seal()
    world.stance = DORMANT
    await world.look()
    place = MemoryPlace()
    place.fault = "it restarts"
    world.one.source = place
    await world.look()
    assert world.site.keeper().escrow.seen == version(2, 1)


async def test_nothing_is_sealed_that_was_read_without_the_epoch(world):
    world.stance = DORMANT
    assert await world.seal() == ""
    assert world.kept.newest is None
    world.stance = Stance(3, Epoch(4))
    assert await world.seal(epoch=2) == ""
    assert world.kept.newest is None


async def test_a_read_that_overlaps_the_end_of_the_epoch_is_thrown_away(world):
    """The source hangs, the site is fenced, and what is read then is another site's replica."""

    class Slow(MemoryPlace):
        async def read(self) -> bytes | None:
            world.stance = DORMANT
            return await super().read()

    world.one.source = Slow(b"KEY-9")
    assert await world.seal() == ""
    assert world.kept.newest is None
    world.stance = ACTIVE
    before = len(world.looks)
    await world.room._look(world.one, ACTIVE, world)
    assert len(world.looks) == before


async def test_a_source_that_fails_is_told_by_its_code_and_shown_in_words(world):
    place = MemoryPlace()
    place.fault = "nobody is there"
    world.one.source = place
    assert await world.look() == (Look.FAILED, "source-unreachable")
    assert await world.seal() == "source-unreachable"
    assert world.room.view(G)[L]["source"] == "nobody is there"
    place.fault, place.value = "", b"KEY-1"
    await world.look()
    assert world.room.view(G)[L]["source"] == ""


async def test_a_look_that_is_asked_for_waits_for_one_that_is_under_way(world):
    """A source takes one call at a time: the last look of an epoch must not fail because the watcher looks, too."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    class OneAtATime(MemoryPlace):
        reading = False

        async def read(self) -> bytes | None:
            assert not self.reading
            self.reading = True
            begun.set()
            await go_on.wait()
            self.reading = False
            return await super().read()

    world.one.source = OneAtATime(b"KEY-1")
    first = asyncio.create_task(world.look())
    await begun.wait()
    second = asyncio.create_task(world.room.look_now(LookAtKey(G, L), world))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, second)
    assert [look[:2] for look in world.looks] == [(Look.CHANGED, ""), (Look.CHANGED, "")]


async def test_what_the_witnesses_send_is_kept_and_a_full_disk_is_a_problem(world, tmp_path, monkeypatch):
    other = SiteOf(tmp_path / "b", world.site.ring).keeper()
    other.seal(b"KEY-5", version(3, 5))
    item = EscrowItem(L, other.kept().newest)
    kept, problem = await world.room.keep(KeepSealed(G, item))
    assert (kept.held, kept.opens, problem) == (version(3, 5), True, "")
    other.seal(b"KEY-6", version(3, 6))

    def full(*_args, **_fields):
        raise DurabilityLost("the disk is full")

    monkeypatch.setattr("agents.license.store.write_atomic", full)
    newer = EscrowItem(L, other._escrow.newest)
    kept, problem = await world.room.keep(
        KeepSealed(G, replace(newer, sealed=replace(newer.sealed, version=version(3, 7))))
    )
    assert (kept.held, problem) == (version(3, 5), "not-stored")
    with pytest.raises(DurabilityLost):
        world.room.keep_promised(G, (newer,))


async def test_what_comes_with_a_promise_is_on_disk_when_the_call_returns(world, tmp_path):
    other = SiteOf(tmp_path / "b", world.site.ring).keeper()
    other.seal(b"KEY-5", version(3, 5))
    changed = world.room.keep_promised(G, (EscrowItem(L, other.kept().newest), EscrowItem("none", other.kept().newest)))
    assert {name: one.held for name, one in changed.items()} == {L: version(3, 5)}
    assert world.site.keeper().kept().held == version(3, 5)


async def test_running_it_looks_again_and_again_and_at_once_when_the_role_changes(world):
    world.site.spec = replace(world.site.spec, watch_ms=60_000)
    world.stance = DORMANT
    slow = World(world.site)
    slow.stance = DORMANT
    async with world.running():
        await world.until(lambda: len(world.looks) >= 2)
    async with slow.running():
        await slow.until(lambda: slow.looks)
        slow.site.put("KEY-2")
    assert world.site.keeper().kept().newest is None


async def test_a_probe_says_yes_no_or_nothing(world, tmp_path):
    mark = tmp_path / "activated"
    probe = ("/bin/sh", "-c", f"test -e {tmp_path}/broken && exit 7; test -e {mark}")
    off = ("/bin/rm", str(mark))
    spec = replace(world.site.spec, probe=probe, deactivate=off)
    world.site.spec = spec
    probing = World(world.site)
    mark.touch()
    async with probing.running():
        await probing.until(lambda: (True, "") in probing.probes)
        mark.unlink()
        await probing.until(lambda: (False, "") in probing.probes)
    component = LicenseComponent(spec, {})
    assert await component.still_up() == ""
    mark.touch()
    assert "activated" in await component.still_up()
    assert await component.end() == ""
    assert not mark.exists()
    (tmp_path / "broken").touch()
    answer = await ask_probe(spec, {})
    assert (answer.activated, answer.problem) == (None, "probe-failed")
    assert await component.still_up() == ""


async def test_a_probe_that_overlaps_a_change_of_the_role_says_nothing(world, tmp_path):
    go = tmp_path / "go"
    spec = replace(
        world.site.spec, probe=("/bin/sh", "-c", f"while ! test -e {go}; do sleep 0.02; done"), probe_ms=60_000
    )
    world.site.spec = spec
    probing = World(world.site)
    async with probing.running():
        await probing.until(lambda: probing.looks)
        probing.stance = DORMANT
        go.touch()
        await probing.until(lambda: len(probing.looks) >= 2)
    assert probing.probes == []


def test_a_key_in_place_is_sealed_only_behind_its_restore():
    assert may_seal(SiteState.ACTIVE, restored=False, read=False)
    assert may_seal(SiteState.ACTIVATING, restored=True, read=False)
    assert not may_seal(SiteState.ACTIVATING, restored=False, read=True)
    assert may_seal(SiteState.DEACTIVATING, restored=False, read=True)
    for state in (SiteState.STANDBY, SiteState.FENCED, SiteState.FENCING, SiteState.UNKNOWN):
        assert not may_seal(state, restored=True, read=True)


async def test_a_former_key_is_sealed_again_when_an_operator_says_that_it_is_the_right_one(world):
    await world.seal()
    world.site.put("KEY-2")
    await world.seal(number=2)
    world.site.put("KEY-1")
    keeper = world.one.keeper
    keeper.accept(keeper.ring(), b"KEY-1")
    assert await world.look() == (Look.CHANGED, "")
    assert await world.seal(number=3) == ""
    assert await world.look() == (Look.SAME, "")
    world.site.put("KEY-2")
    assert await world.look() == (Look.FAILED, OLD_KEY), "it was replaced by the one before it"


async def test_a_place_that_went_back_is_not_sealed_whoever_asks(world):
    """As when the witnesses ask for another number: no look comes between."""
    await world.seal()
    world.site.put("KEY-2")
    await world.seal(number=2)
    world.site.put("KEY-1")
    assert await world.seal(number=3) == OLD_KEY
    assert world.kept.newest.version == version(2, 2)
