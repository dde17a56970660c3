"""A look by a command of the operator's: exit code 0 passes; a lag probe prints milliseconds."""

from __future__ import annotations

from agents.probes.base import ProbeResult
from agents.probes.command import CommandResult, run_command

LAG_MS_MAX = 10**12
DETAIL_CHARS_MAX = 120


class ExecProbe:
    def __init__(self, argv: tuple[str, ...], timeout_ms: int, *, measures: bool) -> None:
        self._argv = argv
        self._timeout_ms = timeout_ms
        self._measures = measures

    async def look(self) -> ProbeResult:
        result = await run_command(self._argv, self._timeout_ms)
        if result.exit_code != 0:
            return ProbeResult(passed=False, detail=_failure(result))
        return _measured(result.output) if self._measures else ProbeResult(passed=True)

    async def close(self) -> None:
        """Holds nothing between looks."""


def _failure(result: CommandResult) -> str:
    """The exit and the last line that was printed: scripts say there what is wrong."""
    lines = [line.strip() for line in result.output.splitlines() if line.strip()]
    last = "".join(char for char in lines[-1] if char.isprintable()) if lines else ""
    return f"{result.words}: {last}"[:DETAIL_CHARS_MAX] if last else result.words


def _measured(output: str) -> ProbeResult:
    words = output.strip()
    try:
        value = round(float(words))
    except (ValueError, OverflowError):
        return ProbeResult(passed=False, detail="did not print a number of milliseconds")
    if not 0 <= value <= LAG_MS_MAX:
        return ProbeResult(passed=False, detail=f"printed a lag outside of 0 to {LAG_MS_MAX} ms")
    return ProbeResult(passed=True, value_ms=value)
