"""The command line of `site-agent exec`, read without a library: every wrapped service carries this process."""

from __future__ import annotations

RUNTIME_DIR = "/run/thirdsite"
SOCKET_NAME = "agent.sock"
WAIT_S_DEFAULT = 10.0
WAIT_S_MAX = 86_400.0
GROUP_CHARS_MAX = 63
FLAGS = ("--again", "--forking")

USAGE = """usage: site-agent exec --group GROUP [OPTIONS] -- COMMAND [ARGUMENT...]
Runs COMMAND only while this site holds the lease of GROUP, and has it dead by the lease's deadline.
  --socket PATH    the agent's local socket (default /run/thirdsite/agent.sock)
  --wait SECONDS   how long the agent may be unreachable before COMMAND was started (default 10)
  --argv0 NAME     what COMMAND is told as its own name
  --again          when the lease is lost, wait for the next one instead of ending (in containers)
  --forking        COMMAND goes into the background: go on until nothing of it is left; TERM goes to all of it
exit: COMMAND's own code; 128+n when signal n ended it; 75 the lease was lost; 69 agent not reachable;
      78 the agent refuses this group; 71 no containment; 64 usage; 127 COMMAND cannot be run
"""


class UsageError(ValueError):
    """What is wrong with the command line, in one sentence."""


class ExecOptions:
    """Checked options."""

    __slots__ = ("again", "argv0", "command", "forking", "group", "socket_path", "wait_s")

    def __init__(
        self, group: str, socket_path: str, wait_s: float, command: list[str], *, argv0: str, flags: list[str]
    ) -> None:
        self.group = group
        self.socket_path = socket_path
        self.wait_s = wait_s
        self.command = command
        self.argv0 = argv0
        self.forking = "--forking" in flags
        self.again = "--again" in flags

    def argv(self) -> list[str]:
        return [self.argv0 or self.command[0], *self.command[1:]]


def asks_for_help(arguments: list[str]) -> bool:
    """Only before the `--`: what follows belongs to the command."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--help" in own or "-h" in own


def parse(arguments: list[str]) -> ExecOptions:
    """Raises UsageError."""
    if "--" not in arguments:
        raise UsageError("'--' and a command are missing")
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    if not command:
        raise UsageError("a command is missing after '--'")
    values = {"--group": "", "--socket": f"{RUNTIME_DIR}/{SOCKET_NAME}", "--wait": str(WAIT_S_DEFAULT), "--argv0": ""}
    flags = [option for option in options if option in FLAGS]
    todo = [option for option in options if option not in FLAGS]
    while todo:
        name, given, value = todo.pop(0).partition("=")
        if name not in values:
            raise UsageError(f"unknown option {name!r}")
        if not given:
            if not todo:
                raise UsageError(f"{name} needs a value")
            value = todo.pop(0)
        values[name] = value
    if not _is_group(values["--group"]):
        raise UsageError("--group needs the group's name: 1 to 63 of a-z, 0-9 and '-'")
    return ExecOptions(
        values["--group"],
        values["--socket"],
        _seconds(values["--wait"]),
        command,
        argv0=values["--argv0"],
        flags=flags,
    )


def _is_group(value: str) -> bool:
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
    return 0 < len(value) <= GROUP_CHARS_MAX and all(letter in allowed for letter in value) and value[0] != "-"


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= WAIT_S_MAX:
        raise UsageError(f"--wait needs seconds from 0 to {WAIT_S_MAX:.0f}")
    return seconds
