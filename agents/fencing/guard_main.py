"""Entry of a guard process, run by path with `python -I -S`: the package's siblings, nothing else.

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
    from agents.fencing.guard_front import main

    sys.exit(main(sys.argv[1:]))
