"""Entry of every guard process (`guard` or `exec`), run by path with `python -I -S`.

Rule: a guard loads only the small modules beside this file. The stand-ins below make `agents.fencing` resolve to
this directory and `agents` to nothing, so that a guard works the same from a wheel and from a checkout, and an
import of something heavy fails here instead of growing every guard by megabytes.
"""

from __future__ import annotations

import os
import sys


def stand_in_packages() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    paths: tuple[tuple[str, list[str]], ...] = (("agents", []), ("agents.fencing", [here]))
    for name, path in paths:
        module = type(sys)(name)
        module.__path__ = path
        sys.modules[name] = module


if __name__ == "__main__":
    stand_in_packages()
    if sys.argv[1:2] == ["exec"]:
        from agents.fencing.exec_guard import main as exec_main

        sys.exit(exec_main(sys.argv[2:]))
    from agents.fencing.guard_front import main as guard_main

    sys.exit(guard_main(sys.argv[2:]))
