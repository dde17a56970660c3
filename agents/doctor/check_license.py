"""Licenses: their sealing keys, what this site keeps of them, and whether their key can be read and put back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.license.spec import PlaceKind, SiteLicense
from agents.license.sql import driver_problem
from agents.settings import GroupSpec

SOURCE_S = 10.0
_NO_START = "this site cannot restore the license's key: it is not eligible, or its activation is refused"


def check_license(host: Host) -> Iterator[Finding]:
    for group in host.settings.groups:
        for one in group.licenses:
            if one.keeps:
                yield from _kept(host, group, one)
            yield from _probe(group, one)


def _found(severity: Severity, group: GroupSpec, one: SiteLicense, what: str, why: str, remedy: str) -> Finding:
    promise = Promise.COMES_BACK if why == _NO_START else Promise.ONE_LICENSE
    return Finding(severity, f"license {one.name}", what, promise, why, remedy, group.group)


def _probe(group: GroupSpec, one: SiteLicense) -> Iterator[Finding]:
    if not one.probe:
        what = "no probe tells whether it is activated here"
        why = "neither a second activation is noticed by this site, nor one while it is dormant"
        remedy = "add probe: a command that exits with 0 when it is activated here and with 1 when it is not"
        yield _found(Severity.WARNING, group, one, what, why, remedy)
    elif not one.deactivate:
        what = "there is no deactivate command"
        why = "a license that is activated while the site is dormant cannot be ended by itself"
        remedy = "add deactivate, or see that the end of the platform always deactivates it"
        yield _found(Severity.NOTE, group, one, what, why, remedy)


def _kept(host: Host, group: GroupSpec, one: SiteLicense) -> Iterator[Finding]:
    from agents.license.keeper import LicenseKeeper  # noqa: PLC0415 - what seals is loaded where a license is

    if problem := _driver(one):
        yield _found(Severity.BROKEN, group, one, problem, _NO_START, "install it")
        return
    keeper = LicenseKeeper(host.settings.cluster, group.group, one, host.settings.state_dir)
    if keeper.ring() is None:
        remedy = "copy the sealing keys from another site, or make the first: site-agent license new-key"
        yield _found(Severity.BROKEN, group, one, keeper.key_problem, _NO_START, remedy)
        return
    kept = keeper.kept()
    if kept.damaged:
        remedy = "let the agent run and reach the witnesses: it gets the newest sealed key from them"
        yield _found(Severity.BROKEN, group, one, f"{keeper.file.path} is damaged", _NO_START, remedy)
    elif kept.newest is not None and not kept.opens:
        what = f"the newest sealed key is sealed with key {kept.newest.key_id}, which is not in {one.key_file}"
        yield _found(Severity.BROKEN, group, one, what, _NO_START, "copy the key file from the site that sealed it")
    yield from _source(host, group, one)


def _source(host: Host, group: GroupSpec, one: SiteLicense) -> Iterator[Finding]:
    """On a dormant site its database may be down; then it must come up in the activation."""
    from agents.license.keeper import LicenseKeeper  # noqa: PLC0415 - see above
    from agents.license.place import PlaceFault  # noqa: PLC0415 - see above
    from agents.license.trial import read_place  # noqa: PLC0415 - see above

    keeper = LicenseKeeper(host.settings.cluster, group.group, one, host.settings.state_dir)
    try:
        asyncio.run(asyncio.wait_for(read_place(keeper, host.settings.site), SOURCE_S))
    except (PlaceFault, TimeoutError) as error:
        active = not host.dormant(group.group)
        what = f"its key cannot be read: {error or 'no answer in time'}"
        why = "a key that changes now is not sealed" if active else _NO_START
        remedy = "correct source, or the rights of its user; try it with `site-agent license test`"
        yield _found(Severity.BROKEN if active else Severity.WARNING, group, one, what, why, remedy)


def _driver(one: SiteLicense) -> str:
    kinds = {place.kind for place in (one.source, one.sink) if place is not None}
    return driver_problem() if PlaceKind.SQL in kinds else ""
