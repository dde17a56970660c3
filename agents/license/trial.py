"""What `site-agent license test` and `accept` do with one license; no line holds a key."""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.license_rules import Doing, InPlace, judge
from agents.license.build import about, source_of
from agents.license.component import ask_probe
from agents.license.keeper import Found, LicenseKeeper
from agents.license.place import PlaceFault
from agents.license.step import known_of
from proto.errors import LocalFault
from proto.license import EscrowVersion, version_words
from proto.units import Epoch, SiteId

_TRIAL = EscrowVersion(Epoch(1), 1)
_WORDS = {
    InPlace.NEWEST: "the newest sealed key is in place",
    InPlace.OLDER: "an older key is in place: an activation would restore the newest",
    InPlace.UNKNOWN: "the key in place was never sealed here",
}


@dataclass(frozen=True, slots=True)
class Line:
    well: bool
    text: str


async def try_license(keeper: LicenseKeeper, site: SiteId) -> list[Line]:
    spec = keeper.spec
    which, lines = f"{keeper.sealer.group}/{spec.name}", []
    if spec.keeps:
        ring = keeper.ring()
        words = keeper.key_problem
        if ring is not None:
            words = f"{spec.key_file}: {len(ring.keys)} of them, seals with {ring.newest.key_id}"
        lines.append(Line(ring is not None, f"{which} sealing keys: {words}"))
        lines += await _place(keeper, site, which)
    if spec.probe:
        answer = await ask_probe(spec, about(site, keeper.sealer.group, spec))
        unknown = answer.words.removeprefix("the probe gives ")
        words = {True: "activated here", False: "not activated here", None: unknown}[answer.activated]
        lines.append(Line(answer.activated is not None, f"{which} probe: {words}"))
    return lines


async def _place(keeper: LicenseKeeper, site: SiteId, which: str) -> list[Line]:
    try:
        value = await read_place(keeper, site)
    except PlaceFault as error:
        return [Line(False, f"{which} source: {error}")]
    found = keeper.compare(value)
    if found.place is InPlace.ABSENT or value is None:
        what = (
            "no key is there: see what its settings name"
            if value is None
            else f"{len(value)} bytes that are no key by its size or pattern"
        )
        return [Line(False, f"{which} source: {what}")]
    lines = [Line(True, f"{which} source: a key of {len(value)} bytes")]
    ring = keeper.ring()
    if ring is not None:
        opened = keeper.sealer.open(ring, keeper.sealer.seal(ring, _TRIAL, value)).value == value
        lines.append(Line(opened, f"{which} sealing: sealed and opened again"))
    kept = keeper.kept()
    newest = None if kept.newest is None else kept.newest.version
    words = f"newest version {version_words(newest)}"
    if kept.newest is not None and not kept.opens:
        words += f", sealed with {kept.newest.key_id}; the newest that opens here is {version_words(kept.held)}"
    lines.append(Line(newest is None or kept.opens, f"{which} store: {words}"))
    return [*lines, _activation_now(keeper, found, value, which)]


def _activation_now(keeper: LicenseKeeper, found: Found, value: bytes, which: str) -> Line:
    """What stands in a line before is not said once more: what follows from it is."""
    known = known_of(keeper, accepted=keeper.accepted(value), restorable=keeper.spec.sink is not None)
    doing = judge(found.place, known)
    well, words = doing.doing is not Doing.REFUSE, doing.words
    if keeper.key_problem:
        well, words = False, "it would be refused until the key file can be used"
    elif not well and known.heard is not None and known.newest != known.heard:
        words = "it would be refused until that sealing key is in the key file"
    return Line(well, f"{which} an activation now: {words}")


async def read_place(keeper: LicenseKeeper, site: SiteId) -> bytes | None:
    """Raises PlaceFault."""
    if keeper.spec.source is None:
        raise LocalFault(f"license {keeper.spec.name} has no source: its key is not kept in escrow")
    source = source_of(keeper.spec.source, about(site, keeper.sealer.group, keeper.spec))
    try:
        return await source.read()
    finally:
        await source.close()


async def accept_key(keeper: LicenseKeeper, site: SiteId) -> str:
    """Raises LocalFault."""
    value, ring = await read_place(keeper, site), keeper.ring()
    if keeper.judge_shape(value) is not None or value is None:
        raise LocalFault("there is no key in place that could be accepted: put the right one there first")
    if ring is None:
        raise LocalFault(keeper.key_problem)
    keeper.accept(ring, value)
    return (
        f"accepted    the key in place ({len(value)} bytes, {_WORDS[keeper.compare(value).place]}): the next "
        "activation of this site keeps it"
    )
