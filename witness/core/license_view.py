"""A group's licenses as people and programs read them: versions and ages, and never a key or what it is sealed in."""

from __future__ import annotations

from proto.license import NO_VERSION, NOT_CONFIGURED, NOT_NAMED, EscrowPolicy, LicenseReport, LicenseSpec, version_words
from proto.units import LicenseName, SiteId
from witness.core import licenses
from witness.core.state import GroupState


def licenses_view(group: GroupState) -> list[dict[str, object]]:
    unnamed = {name for record in group.sites.values() for name in licenses.unnamed(group.config, record.report)}
    shown = [_license(group, spec, spec.escrow.value) for spec in group.config.licenses]
    return shown + [_license(group, LicenseSpec(name, EscrowPolicy.NONE), NOT_NAMED) for name in sorted(unnamed)]


def _license(group: GroupState, spec: LicenseSpec, escrow: str) -> dict[str, object]:
    kept, waived = group.escrow.kept.get(spec.name), group.escrow.waived.get(spec.name)
    return {
        "license": spec.name,
        "escrow": escrow,
        "stored": None if kept is None else version_words(kept.sealed.version),
        "sealed_by": None if kept is None else kept.site,
        "sealing_key": None if kept is None else kept.sealed.key_id,
        "put_ms": None if kept is None else kept.put_ms,
        "newest": version_words(licenses.newest(group, spec.name)),
        "waived": None if waived is None else version_words(waived),
        "unsure": group.escrow.unsure,
        "sites": [_site(group, site, spec.name, named=escrow != NOT_NAMED) for site in group.config.sites],
    }


def _site(group: GroupState, site: SiteId, name: LicenseName, *, named: bool) -> dict[str, object]:
    said = licenses.said_of(group.sites[site], name)
    blocked = dict(licenses.not_current(group, site))
    newest = licenses.newest(group, name)
    return {
        "site": site,
        "configured": said is not None,
        "held": version_words(None if said is None else said.held),
        "current": said is not None and (said.held or NO_VERSION) >= newest,
        "blocked": blocked.get(name, ""),
        "activated": None if said is None else said.activated,
        "both_active": name in group.sites[site].both_active,
        "problem": _problem(group, site, said, named=named),
    }


def _problem(group: GroupState, site: SiteId, said: LicenseReport | None, *, named: bool) -> str:
    """A code, also for what the site cannot say of itself: its file and the group's do not name the same licenses."""
    if said is None:
        return NOT_CONFIGURED if named and group.sites[site].report is not None else ""
    return said.problem if named else said.problem or NOT_NAMED
