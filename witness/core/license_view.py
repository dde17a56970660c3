"""A group's licenses as people and programs read them: versions and ages, and never a key or what it is sealed in."""

from __future__ import annotations

from proto.license import NO_VERSION, LicenseSpec, version_words
from proto.units import SiteId
from witness.core import licenses
from witness.core.state import GroupState


def licenses_view(group: GroupState) -> list[dict[str, object]]:
    return [_license(group, spec) for spec in group.config.licenses]


def _license(group: GroupState, spec: LicenseSpec) -> dict[str, object]:
    kept, waived = group.escrow.kept.get(spec.name), group.escrow.waived.get(spec.name)
    return {
        "license": spec.name,
        "escrow": spec.escrow.value,
        "stored": None if kept is None else version_words(kept.sealed.version),
        "sealed_by": None if kept is None else kept.site,
        "sealing_key": None if kept is None else kept.sealed.key_id,
        "put_ms": None if kept is None else kept.put_ms,
        "newest": version_words(licenses.newest(group, spec.name)),
        "waived": None if waived is None else version_words(waived),
        "unsure": group.escrow.unsure,
        "sites": [_site(group, site, spec) for site in group.config.sites],
    }


def _site(group: GroupState, site: SiteId, spec: LicenseSpec) -> dict[str, object]:
    said = licenses.said_of(group.sites[site], spec.name)
    blocked = dict(licenses.not_current(group, site))
    newest = licenses.newest(group, spec.name)
    return {
        "site": site,
        "configured": said is not None,
        "held": version_words(None if said is None else said.held),
        "current": said is not None and (said.held or NO_VERSION) >= newest,
        "blocked": blocked.get(spec.name, ""),
        "activated": None if said is None else said.activated,
        "both_active": spec.name in group.sites[site].both_active,
        "problem": "" if said is None else said.problem,
    }
