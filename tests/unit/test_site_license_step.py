"""The step before the platform starts: what it reads, writes, refuses and says; and which steps a license becomes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from site_license_rig import CLUSTER, SITE, G, L, SiteOf, version

from agents.license.key_file import save_ring
from agents.license.place import MemoryPlace, PlaceFault
from agents.license.plan_steps import with_license_steps
from agents.license.sealing import digest
from agents.license.spec import VARIABLE, PlaceKind, PlaceSpec, StepTask, WhenUnknown
from agents.license.step import EXIT_REFUSED, EXIT_UNUSABLE, EXIT_USAGE, Refused, check, main, perform, restore
from agents.settings import GroupSpec, PlanSpec, StepSpec, built, plain
from proto.license import EscrowPolicy
from proto.units import ClusterId


@pytest.fixture
def site(tmp_path):
    made = SiteOf(tmp_path / "a")
    keeper = made.keeper()
    keeper.seal(b"KEY-1", version(2, 1))
    keeper.seal(b"KEY-2", version(2, 2))
    return made


def run(site: SiteOf, verb: str = "restore") -> str:
    return asyncio.run(perform(verb, StepTask(site.cluster, SITE, G, site.root, site.spec)))


def test_a_replica_that_is_behind_gets_the_newest_key(site):
    site.put("KEY-1")
    assert "2.2" in run(site)
    assert site.key == "KEY-2"


def test_twice_does_what_once_does(site):
    site.put("KEY-1")
    run(site)
    before = site.place.stat().st_ino
    assert "in place" in run(site)
    assert (site.key, site.place.stat().st_ino) == ("KEY-2", before)


@pytest.mark.parametrize("in_place", [None, "", "K" * 4_500])
def test_where_no_key_is_the_newest_is_put(site, in_place):
    site.put(in_place)
    run(site)
    assert site.key == "KEY-2"


def test_an_unknown_key_is_refused_and_left_as_it_is(site):
    site.put("KEY-X")
    site.keeper().saw(version(2, 1))
    with pytest.raises(Refused, match=r"2\.2"):
        run(site)
    assert site.key == "KEY-X"


def test_a_successor_of_the_newest_in_this_place_is_kept(site):
    """Exchanged just before its site died, replicated at once, and never seen by a watcher there."""
    site.keeper().saw(version(2, 2))
    site.put("KEY-3")
    assert "after version 2.2" in run(site)
    assert site.key == "KEY-3"


def test_a_platform_that_dies_right_behind_its_exchange_is_started_again_with_what_it_got(site):
    """Between the restore and the end nobody looked: the step itself noted what was in place."""
    site.keeper().saw(version(2, 1))
    site.put("KEY-1")
    run(site)
    site.put("KEY-3")
    assert "after version 2.2" in run(site)
    assert site.key == "KEY-3"


def test_what_the_step_noted_means_nothing_once_an_older_key_was_seen_in_place(site):
    site.put("KEY-2")
    run(site)
    site.keeper().saw(None)
    site.put("KEY-X")
    with pytest.raises(Refused):
        run(site)


def test_an_unknown_key_is_kept_or_replaced_as_configured_and_accepted_by_an_operator(site):
    site.keeper().saw(version(2, 1))
    site.put("KEY-X")
    keeper = site.keeper()
    ring = keeper.ring()
    keeper.accept(ring, b"KEY-X")
    run(site)
    assert site.key == "KEY-X"
    keeper.file.forget_accepted()
    site.spec = replace(site.spec, unknown=WhenUnknown.KEEP)
    run(site)
    assert site.key == "KEY-X"
    site.spec = replace(site.spec, unknown=WhenUnknown.RESTORE)
    run(site)
    assert site.key == "KEY-2"


def test_the_first_activation_ever_takes_what_is_there(tmp_path):
    first = SiteOf(tmp_path / "b")
    first.put("KEY-0")
    assert "first" in run(first)
    first.put(None)
    with pytest.raises(Refused, match="none was ever sealed"):
        run(first)


def test_a_sealing_key_that_is_missing_refuses_before_anything_is_read(site):
    site.put("KEY-1")
    save_ring(site.key_file, SiteOf(site.root.parent / "other").ring)
    for verb in ("check", "restore"):
        with pytest.raises(Refused, match="does not open"):
            run(site, verb)
    site.key_file.unlink()
    with pytest.raises(PlaceFault, match="new-key"):
        run(site)
    assert site.key == "KEY-1"


def test_a_check_alone_says_what_a_restore_would_refuse_in_any_case(site):
    assert check(site.keeper()) == "a sealed key is there"


async def test_a_sink_that_takes_the_key_and_does_not_keep_it_is_seen(site):
    class Forgets(MemoryPlace):
        async def write(self, value: bytes) -> None:
            del value

    place = Forgets(b"KEY-1")
    with pytest.raises(Refused, match="another key is in place all the same"):
        await restore(site.keeper(), place, place)


async def test_a_version_that_came_while_the_source_was_waited_for_is_the_one_that_is_restored(site):
    """Of an optional license, or of one that was waived: its values come with the answers right after the grant."""
    tried, come = site.root / "tried", site.root / "come"
    read = f"touch {tried}; test -e {come} && cat {site.place}"
    site.spec = replace(site.spec, source=PlaceSpec(PlaceKind.COMMAND, 1_000, command=("/bin/sh", "-c", read)))
    site.put("KEY-1")
    step = asyncio.create_task(perform("restore", StepTask(site.cluster, SITE, G, site.root, site.spec)))
    async with asyncio.timeout(5):
        while not tried.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)  # a file, looked at until it is there
    site.keeper().seal(b"KEY-3", version(2, 3))
    come.touch()
    assert "2.3" in await step
    assert site.key == "KEY-3"


async def test_a_database_that_is_not_up_yet_is_waited_for(site):
    """Its place is a directory that comes later."""
    place = site.root / "later" / "key"
    where = PlaceSpec(PlaceKind.COMMAND, 1_000, command=("/bin/cat", str(place)))
    site.spec = replace(site.spec, source=where, sink=PlaceSpec(PlaceKind.FILE, 1_000, path=place))
    task = asyncio.create_task(perform("restore", StepTask(site.cluster, SITE, G, site.root, site.spec)))
    await asyncio.sleep(0.1)  # the first read has failed by then
    place.parent.mkdir()
    place.write_text("KEY-1\n")
    assert "restored" in await task


def test_what_never_comes_ends_the_step_before_its_time_with_the_reason(site):
    where = PlaceSpec(PlaceKind.COMMAND, 500, command=("/bin/false",))
    site.spec = replace(site.spec, source=where, step_timeout_ms=1_500)
    with pytest.raises(PlaceFault, match="exit code 1"):
        run(site)


def as_program(site: SiteOf, verb: str = "restore") -> subprocess.CompletedProcess[bytes]:
    group = with_license_steps(group_of(site), CLUSTER, SITE, site.root)
    (step, *_) = group.activation.steps
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())} | dict(step.env)
    return subprocess.run((*step.argv[:-1], verb), env=env, check=False, capture_output=True, timeout=30, cwd="/")


def group_of(site: SiteOf, steps: tuple[str, ...] = ()) -> GroupSpec:
    plan = PlanSpec(60_000, tuple(StepSpec(name, ("/bin/true",)) for name in steps))
    return GroupSpec(
        G, True, None, plan, PlanSpec(60_000, (StepSpec("stop", ("/bin/true",)),)), (), (), licenses=(site.spec,)
    )


def test_as_a_program_its_last_line_is_the_reason_and_no_line_a_key(site):
    site.put("KEY-1")
    done = as_program(site)
    assert (done.returncode, site.key) == (0, "KEY-2")
    site.keeper().saw(version(2, 1))
    site.put("KEY-X")
    refused = as_program(site)
    assert refused.returncode == EXIT_REFUSED
    for one in (done, refused):
        assert one.stdout.decode().splitlines()[-1].startswith("license fingerprint: ")
        assert b"KEY-" not in one.stdout + one.stderr


def test_wrong_usage_and_an_unusable_key_file_have_their_exit_codes(site, capsys):
    assert main([], {}) == EXIT_USAGE
    assert main(["restore"], {VARIABLE: "{}"}) == EXIT_USAGE
    site.key_file.chmod(0o644)
    task = json.dumps(dataclasses.asdict(StepTask(CLUSTER, SITE, G, site.root, site.spec)), default=plain)
    assert main(["restore"], {VARIABLE: task}) == EXIT_UNUSABLE
    assert "chmod 600" in capsys.readouterr().out


# -- the plan ---------------------------------------------------------------------------------------------


def names(plan: PlanSpec) -> list[str]:
    return [step.name for step in plan.steps]


def test_the_key_is_restored_first_then_the_license_is_activated_and_last_deactivated(site):
    site.spec = replace(site.spec, activate=("/bin/on",), deactivate=("/bin/off",))
    group = with_license_steps(group_of(site, ("start",)), CLUSTER, SITE, site.root)
    assert names(group.activation) == ["license-fingerprint", "license-fingerprint-activate", "start"]
    assert names(group.deactivation) == ["stop", "license-fingerprint-deactivate"]
    assert group.activation.steps[1].undo == ("/bin/off",)
    assert group.activation.timeout_ms == 60_000 + 2 * site.spec.step_timeout_ms


def test_behind_a_promotion_a_check_comes_first(site):
    site.spec = replace(site.spec, restore_after="promote")
    group = with_license_steps(group_of(site, ("mount", "promote", "start")), CLUSTER, SITE, site.root)
    assert names(group.activation) == [
        "license-fingerprint-check",
        "mount",
        "promote",
        "license-fingerprint",
        "start",
    ]


def test_without_escrow_only_the_commands_are_steps(site):
    site.spec = replace(site.spec, escrow=EscrowPolicy.NONE, activate=("/bin/on",), deactivate=("/bin/off",))
    group = with_license_steps(group_of(site), CLUSTER, SITE, site.root)
    assert names(group.activation) == ["license-fingerprint-activate"]


def test_a_group_without_licenses_is_as_it_was(site):
    group = replace(group_of(site, ("start",)), licenses=())
    assert with_license_steps(group, CLUSTER, SITE, site.root) == group


def test_what_travels_in_the_environment_is_read_back_and_holds_no_secret(site):
    task = StepTask(CLUSTER, SITE, G, site.root, site.spec)
    text = json.dumps(dataclasses.asdict(task), default=plain)
    assert built(StepTask, json.loads(text)) == task
    assert site.ring.newest.secret.hex() not in text
    assert L in text


def test_after_a_new_cluster_id_the_recipe_of_the_page_begins_anew(site):
    """docs/operating/license-guard.md: what is sealed is bound to the cluster, and it names the files that go."""
    site.put("KEY-2")
    site.cluster = ClusterId("d" * 32)
    assert (site.keeper().kept().opens, site.keeper().kept().held) == (False, None)
    with pytest.raises(Refused, match="does not open here"):
        run(site)
    left = [path for path in site.root.iterdir() if path.name.startswith(f"{G}.license-{L}")]
    assert left
    for path in left:
        path.unlink()
    assert "the one in place is the first" in run(site)
    assert site.keeper().seal(b"KEY-2", version(1, 1)) == ""
    assert (site.keeper().kept().opens, site.keeper().kept().held) == (True, version(1, 1))
    assert "is in place" in run(site)


def test_an_accepted_key_is_accepted_no_more_once_a_newer_one_was_sealed_anywhere(site):
    """The other site took over meanwhile and changed its key; this replica still has what the operator looked at."""
    site.keeper().saw(version(2, 1))
    site.put("KEY-X")
    keeper = site.keeper()
    ring = keeper.ring()
    keeper.accept(ring, b"KEY-X")
    known = [digest(b"KEY-2"), digest(b"KEY-X")]
    keeper.keep(keeper.sealer.seal(ring, version(3, 3), b"KEY-3", known))
    assert not site.keeper().accepted(b"KEY-X")
    assert "restored" in run(site)
    assert site.key == "KEY-3"
