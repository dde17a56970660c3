"""A process that holds a key in clear for a moment leaves no memory behind when it crashes."""

from __future__ import annotations

from agents.fencing import kernel_calls


def no_core_dump() -> None:
    """Neither a core file nor another user's debugger; a program that this process starts or becomes has it again."""
    kernel_calls.prctl(kernel_calls.PR_SET_DUMPABLE, 0)
