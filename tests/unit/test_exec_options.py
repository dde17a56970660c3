"""What an exec guard reads of its command line and of its environment."""

from __future__ import annotations

from agents.fencing.exec_guard import command_environment
from agents.fencing.exec_options import parse


def test_options_of_a_wrapped_unit() -> None:
    options = parse(["--group", "g", "--forking", "--argv0", "shown", "--", "/bin/a", "--forking"])
    assert (options.forking, options.command) == (True, ["/bin/a", "--forking"])
    assert options.argv() == ["shown", "--forking"]
    plain = parse(["--group=g", "--", "/bin/a"])
    assert (plain.forking, plain.argv()) == (False, ["/bin/a"])


def test_a_supervisors_watchdog_goes_on_to_the_command() -> None:
    told = {"WATCHDOG_PID": "7", "WATCHDOG_USEC": "1", "A": "b"}
    assert command_environment(dict(told), 7) == {"WATCHDOG_USEC": "1", "A": "b"}
    assert command_environment(dict(told), 8) == told
