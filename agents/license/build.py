"""From the settings to places, and to what a license is bound to."""

from __future__ import annotations

from agents.license.by_command import CommandPlace
from agents.license.by_file import FilePlace
from agents.license.place import Sink, Source
from agents.license.spec import PlaceKind, PlaceSpec, SiteLicense
from agents.license.sql import SqlPlace
from proto.units import GroupId, SiteId


def about(site: SiteId, group: GroupId, license_: SiteLicense) -> dict[str, str]:
    """The environment of a license's commands outside of plans."""
    return {"THIRDSITE_GROUP": group, "THIRDSITE_SITE": site, "THIRDSITE_LICENSE": license_.name}


def source_of(spec: PlaceSpec, environment: dict[str, str]) -> Source:
    return _place(spec, environment)


def sink_of(spec: PlaceSpec, environment: dict[str, str]) -> Sink:
    return _place(spec, environment)


def _place(spec: PlaceSpec, environment: dict[str, str]) -> FilePlace | CommandPlace | SqlPlace:
    if spec.kind is PlaceKind.SQL:
        return SqlPlace(spec)
    if spec.kind is PlaceKind.FILE and spec.path is not None:
        return FilePlace(spec.path, spec.timeout_ms)
    return CommandPlace(spec.command, spec.timeout_ms, environment)
