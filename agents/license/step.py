"""The step that a license becomes in an activation: the newest key is in place before the platform starts.

`python -m agents.license.step check|restore`, with what it needs in its environment (agents/license/plan_steps.py). It
runs in the guard's namespace, as every step does, so a stopped agent never writes into a database that is another
site's by then. Running it twice does no harm. Its last line says what was done or why not; no line holds a key.
`check` refuses what `restore` would refuse whatever is in place: it comes first where a database must be promoted
before a key can be restored.

Exit codes: 0 done, 3 refused: see the last line, 4 source, sink or key file cannot be used.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from agents.core.license_rules import Doing, InPlace, Known, judge
from agents.license.build import sink_of, source_of
from agents.license.keeper import LicenseKeeper
from agents.license.key_file import KeyRing
from agents.license.no_dump import no_core_dump
from agents.license.place import SOURCE_BAD_VALUE, PlaceFault, Sink, Source
from agents.license.spec import VARIABLE, StepTask, WhenUnknown
from agents.settings import built
from proto.errors import LocalFault
from proto.license import SealedKey, version_words

AGAIN_S = 0.5
MARGIN_S = 1.0
EXIT_REFUSED, EXIT_UNUSABLE, EXIT_USAGE = 3, 4, 64
_UNKNOWN = {
    WhenUnknown.REFUSE: Doing.REFUSE,
    WhenUnknown.KEEP: Doing.KEEP,
    WhenUnknown.RESTORE: Doing.RESTORE,
}


class Refused(LocalFault):
    """The activation must not go on."""


async def restore(keeper: LicenseKeeper, source: Source, sink: Sink | None) -> str:
    """What was done, in words. Raises Refused and PlaceFault."""
    value = await _in_place(source)
    found = keeper.compare(value)
    judgement = judge(found.place, known_of(keeper, accepted=keeper.accepted(value), restorable=sink is not None))
    if judgement.doing is Doing.REFUSE:
        raise Refused(judgement.words)
    ring, newest = keeper.ring(), keeper.newest_open()
    if judgement.doing is Doing.KEEP or newest is None or ring is None:
        return judgement.words
    if judgement.doing is Doing.RESTORE and sink is not None:
        await _put_back(keeper, ring, newest, source, sink)
    keeper.file.note_in_place(newest.version)
    return judgement.words


async def _put_back(keeper: LicenseKeeper, ring: KeyRing, newest: SealedKey, source: Source, sink: Sink) -> None:
    await sink.write(keeper.sealer.open(ring, newest).value)
    if keeper.compare(await _in_place(source)).place is not InPlace.NEWEST:
        raise Refused(f"version {version_words(newest.version)} was written, and another key is in place all the same")


async def _in_place(source: Source) -> bytes | None:
    """What is too long to be a key is none."""
    try:
        return await source.read()
    except PlaceFault as error:
        if error.code == SOURCE_BAD_VALUE:
            return None
        raise


def known_of(keeper: LicenseKeeper, *, accepted: bool, restorable: bool) -> Known:
    escrow, opened = keeper.escrow, keeper.newest_open()
    return Known(
        newest=None if opened is None else opened.version,
        heard=None if escrow.newest is None else escrow.newest.version,
        seen=opened.version if opened is not None and keeper.file.placed() == opened.version else escrow.seen,
        required=keeper.spec.required,
        when_unknown=_UNKNOWN[keeper.spec.unknown],
        accepted=accepted,
        damaged=escrow.damaged,
        restorable=restorable,
    )


def check(keeper: LicenseKeeper) -> str:
    """Raises Refused for what no key in place could make good."""
    if keeper.accepted_mark():
        return "an operator accepted the key in place"
    known = known_of(keeper, accepted=False, restorable=True)
    judgement = judge(InPlace.NEWEST if known.newest is not None else InPlace.UNKNOWN, known)
    if judgement.doing is Doing.REFUSE:
        raise Refused(judgement.words)
    return "a sealed key is there" if known.newest is not None else judgement.words


async def perform(verb: str, task: StepTask) -> str:
    """Until the source answers, or the step's time is over. Raises Refused and PlaceFault."""
    spec = task.license
    keeper = LicenseKeeper(task.cluster, task.group, spec, task.state_dir)
    if keeper.ring() is None and keeper.key_problem:
        raise PlaceFault("key-file-unusable", keeper.key_problem)
    if verb == "check":
        return check(keeper)
    if spec.source is None:
        raise Refused("no source is configured")
    environment = {name: value for name, value in os.environ.items() if name.startswith("THIRDSITE_")}
    environment.pop(VARIABLE, None)
    source = source_of(spec.source, environment)
    sink = None if spec.sink is None else sink_of(spec.sink, environment)
    loop = asyncio.get_running_loop()
    ends = loop.time() + spec.step_timeout_ms / 1_000 - MARGIN_S
    try:
        while True:
            try:
                return await restore(keeper, source, sink)
            except PlaceFault as error:
                if loop.time() + AGAIN_S >= ends:
                    raise
                sys.stdout.write(f"license {spec.name}: {error}; trying again\n")
                sys.stdout.flush()
            await asyncio.sleep(AGAIN_S)
            # Newer versions may have come meanwhile, with the answers after the grant.
            keeper = LicenseKeeper(task.cluster, task.group, spec, task.state_dir)
    finally:
        await source.close()


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    no_core_dump()
    try:
        task = built(StepTask, json.loads(environment[VARIABLE]))
        (verb,) = arguments
    except (KeyError, ValueError, TypeError):
        sys.stderr.write("this is a step of an activation: `site-agent license status` is for people\n")
        return EXIT_USAGE
    name = task.license.name
    try:
        words = asyncio.run(perform(verb, task))
    except Refused as error:
        sys.stdout.write(f"license {name}: refused: {error}\n")
        return EXIT_REFUSED
    except LocalFault as error:
        sys.stdout.write(f"license {name}: {error}\n")
        return EXIT_UNUSABLE
    sys.stdout.write(f"license {name}: {words}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
