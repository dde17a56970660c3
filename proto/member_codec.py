"""Bytes <-> messages between a lead and its members: two families of their own, with their own sizes."""

from __future__ import annotations

from typing import Final

from proto import member_messages as said
from proto.codec import Family
from proto.limits import FRAME_BYTES_MAX

MEMBER_FRAME_BYTES_MAX: Final = FRAME_BYTES_MAX
"""As on an agent's stream: every group in one ask, and the names of some 2,000 steps in a Hello."""

MEMBER_MESSAGES: Family[said.MemberMessage] = Family(
    "member message", MEMBER_FRAME_BYTES_MAX, {1: said.MemberHello, 2: said.MemberAsk, 3: said.StepEnded}
)
LEAD_MESSAGES: Family[said.LeadMessage] = Family(
    "lead message",
    MEMBER_FRAME_BYTES_MAX,
    {1: said.LeadWelcome, 2: said.LeadGoodbye, 3: said.LeadAnswer, 4: said.AskNow, 5: said.RunStep, 6: said.TwinSeen},
)
