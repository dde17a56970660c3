"""The error tree that both sides share.

    ThirdsiteError
      BadValue            a value from outside breaks a rule: field, value, rule, remedy
        NotNow            the value is right, and this machine cannot have it yet: to be tried again
      RemoteFault         the other end broke the protocol (close that connection, go on)
        FrameRefused      size, depth, version, tag or field of a frame
      LocalFault          this process cannot go on as it is (exit non-zero, say what to do)
        DurabilityLost    a write or sync failed: what was promised may not be on disk

`InvariantViolation` (proto.invariants) stands outside of this tree on purpose: nobody may catch it by accident.
"""

from __future__ import annotations

VALUE_CHARS_MAX = 120
"""Longer values are cut in error texts: an error must fit a terminal and a log line."""


class ThirdsiteError(Exception):
    """Base of all errors that users may see."""


class BadValue(ThirdsiteError):
    """A value from outside breaks a rule."""

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        shown = repr(value)
        if len(shown) > VALUE_CHARS_MAX:
            shown = shown[:VALUE_CHARS_MAX] + "…"
        super().__init__(f"{field}: {shown} is refused: {rule}; {remedy}")
        self.field = field
        """Of the command line as that shows it, '--option' or 'NAME': then the value is wrong usage."""
        self.value = value
        self.rule = rule
        self.remedy = remedy

    @property
    def usage(self) -> bool:
        """The value was given on the command line."""
        return self.field.startswith("--") or self.field.isupper()


class NotNow(BadValue):
    """A wait may mend it: an address that is taken, or not here yet; a certificate that begins later than the clock.

    Whoever starts this process should start it again, where for any other bad value somebody has to look.
    """


class RemoteFault(ThirdsiteError):
    """The other end broke the protocol; the fault is not ours and the connection goes."""


class FrameRefused(RemoteFault):
    """A frame's size, depth, version, tag or field is not acceptable."""


class LocalFault(ThirdsiteError):
    """This process cannot go on as it is."""


class DurabilityLost(LocalFault):
    """A write or a sync failed; the process ends at once rather than answer on what may not be on disk."""
