"""Bytes <-> messages between the agents of two sites: two families of their own, with their own sizes."""

from __future__ import annotations

from typing import Final

from proto import site_messages as said
from proto.codec import Family
from proto.limits import FRAME_BYTES_MAX

SITE_FRAME_BYTES_MAX: Final = FRAME_BYTES_MAX
"""The names of 512 groups in a SiteHello; every other message has some 200 bytes."""

SITE_REQUESTS: Family[said.SiteRequest] = Family(
    "site request",
    SITE_FRAME_BYTES_MAX,
    {1: said.SiteHello, 2: said.SitePing, 3: said.HoldRequest, 4: said.HoldEnd, 5: said.RelayOpen},
)
SITE_ANSWERS: Family[said.SiteAnswer] = Family(
    "site answer",
    SITE_FRAME_BYTES_MAX,
    {
        1: said.SiteWelcome,
        2: said.SiteGoodbye,
        3: said.SitePong,
        4: said.HoldAnswer,
        5: said.HoldEndAnswer,
        6: said.RelayOpened,
        7: said.RelayRefused,
    },
)
