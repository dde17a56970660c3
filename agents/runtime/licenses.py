"""What an agent has for its licenses; nothing of it is loaded where none is configured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.components.base import Component
from agents.license.stance import Stance
from agents.settings import GroupSpec, SiteSettings
from proto.units import GroupId, LicenseName, SiteId

if TYPE_CHECKING:
    from agents.license.room import LicenseRoom


def license_room(settings: SiteSettings, stance: Callable[[GroupId, LicenseName, str], Stance]) -> LicenseRoom | None:
    licenses = {group.group: group.licenses for group in settings.groups if group.licenses}
    if not licenses:
        return None
    from agents.license.no_dump import no_core_dump  # noqa: PLC0415 - see above
    from agents.license.room import LicenseRoom  # noqa: PLC0415 - see above

    no_core_dump()
    return LicenseRoom(settings.cluster, settings.site, settings.state_dir, licenses, stance)


def license_components(site: SiteId, group: GroupSpec) -> tuple[Component, ...]:
    """Those whose probe tells whether they are activated: it belongs to the proof that everything is down."""
    if not any(one.probe for one in group.licenses):
        return ()
    from agents.license.build import about  # noqa: PLC0415 - see above
    from agents.license.component import LicenseComponent  # noqa: PLC0415 - see above

    return tuple(LicenseComponent(one, about(site, group.group, one)) for one in group.licenses if one.probe)
