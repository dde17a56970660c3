"""`site-agent`. Every wrapped service of a host goes through `exec` here, so that comes before any import."""

from __future__ import annotations

import sys


def main() -> None:
    if sys.argv[1:2] == ["exec"]:
        from agents.fencing.exec_entry import become_exec_guard  # noqa: PLC0415 - nothing else may be loaded

        become_exec_guard(sys.argv[2:])
    if sys.argv[1:2] in (["run"], ["member"]):
        from agents.fencing import pid_one  # noqa: PLC0415 - see above

        pid_one.stand_in(pid_one.Work())
    from agents import cli  # noqa: PLC0415 - loads what an exec guard must not carry

    sys.exit(cli.main())


if __name__ == "__main__":
    main()
