"""The bytes of a permit that are signed: a family of its own, so that nothing else is ever read as one."""

from __future__ import annotations

from typing import Final

from proto.codec import Family
from proto.permit import Permit

BODY_BYTES_MAX: Final = 1_024

PERMITS: Family[Permit] = Family("permit", BODY_BYTES_MAX, {1: Permit})
