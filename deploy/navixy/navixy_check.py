#!/usr/bin/env python3
"""Is Navixy up? A probe of the agent, and the step that waits for the 60 to 90 s of a start.

    navixy_check.py                                    asks `check-navixy` once
    navixy_check.py --wait 150 --port 7677             again and again until it is up, at most so many seconds
    navixy_check.py -- docker exec navixy check-navixy   asks by another command

It is up when the command exits with 0, no line of what it prints has one of the words of --bad, every --need is in it,
and every --port of this host takes a connection. Exit codes: 0 up, 1 not, with the reason as the last line, 64 wrong
usage. The words are a guess at a format that is not documented: try it once with a service stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import subprocess
import sys
import time

COMMAND = ["check-navixy"]
COMMAND_S = 20.0
PORT_S = 2.0
LOOK_S = 1.0
EXIT_NO = 1
EXIT_USAGE = 64
BAD = (
    r"not running|not active|inactive|fail(ed|ure)?|dead|down|stopped|error|unavailable|refused"
    r"|created|exited|paused|restarting"  # a container's
)


def why_not(options: argparse.Namespace, seconds: float) -> str:
    """'' when it is up."""
    try:
        done = subprocess.run(
            options.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        return f"{options.command[0]} cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{options.command[0]} said nothing within {seconds:g} s"
    lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]
    for line in lines:
        if options.bad.search(line):
            return line
    if done.returncode != 0:
        return f"{options.command[0]} ended with {done.returncode}: {lines[-1] if lines else 'it said nothing'}"
    missing = [name for name in options.need if not any(name in line for line in lines)]
    if missing:
        return f"{options.command[0]} says nothing of {', '.join(missing)}"
    return next((said for said in map(_closed, options.port) if said), "")


def _closed(port: int) -> str:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PORT_S):
        return ""
    return f"port {port} takes no connection"


def wait(options: argparse.Namespace) -> str:
    """Why it is not up at the end, '' for up."""
    ends = time.monotonic() + options.wait
    while True:
        said = why_not(options, max(LOOK_S, min(COMMAND_S, ends - time.monotonic())) if options.wait else COMMAND_S)
        left = ends - time.monotonic()
        if not said or left <= 0:
            return said
        time.sleep(min(LOOK_S, left))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="navixy_check.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--wait", type=float, default=0.0, help="seconds; without it: one look")
    parser.add_argument("--port", type=int, action="append", default=[], help="of this host, must take TCP connections")
    parser.add_argument("--need", action="append", default=[], help="a word that must be there, for example api-server")
    bad = f"in the place of: {BAD}"
    parser.add_argument(
        "--bad", type=lambda text: re.compile(rf"\b({text})\b", re.IGNORECASE), default=BAD, metavar="REGEX", help=bad
    )
    parser.add_argument("command", nargs="*", default=COMMAND, help=f"default {' '.join(COMMAND)}")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as leaving:
        return EXIT_USAGE if leaving.code else 0
    said = wait(options)
    print(f"navixy_check.py: {said}" if said else "up", file=sys.stderr if said else sys.stdout)
    return EXIT_NO if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
