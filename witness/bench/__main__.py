"""`python -m witness.bench [--json] [--quick] [--only PART,..]`: measures, prints, judges by the floors.

Exit code 0 when it ran. A floor that is missed is said loudly and does not change the exit code: a busy machine is no
bug. Progress goes to stderr; with `--json` the last line of stdout is one object with every figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys

from rich.console import Console

from witness.bench import measure
from witness.bench.parts import PARTS, Bench
from witness.bench.show import judge, show
from witness.demo.eyes import Expected

EXIT_FAILED = 1
EXIT_USAGE = 64


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m witness.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the last line of stdout is one JSON object")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, measures nothing")
    parser.add_argument("--no-etcd", action="store_true", help="leave etcd out although it is installed")
    parser.add_argument("--seconds", type=float, help="of each measurement under load")
    parser.add_argument("--runs", type=int, help="leaders lost for each outage figure")
    parser.add_argument("--only", metavar="PART,..", help=f"some of: {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    parts = tuple(PARTS) if options.only is None else tuple(options.only.split(","))
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.stderr.write(f"bench: --only: {unknown[0]!r} is no part; choose of {', '.join(PARTS)}\n")
        return EXIT_USAGE
    size = measure.QUICK if options.quick else measure.Size()
    changed = {}
    if options.seconds is not None:
        changed["seconds"] = max(0.1, min(options.seconds, 600.0))
    if options.runs is not None:
        changed["runs"] = max(1, min(options.runs, 1_000))
    size = measure.Size(**{**{name: getattr(size, name) for name in size.__slots__}, **changed})
    out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    bench = Bench(size, parts, Console(stderr=True, highlight=False, soft_wrap=True), etcd=not options.no_etcd)
    code = _run(bench)
    judged = judge(bench.figures)
    if code == 0:
        show(out, bench.figures, judged)
    if options.json:
        print(json.dumps({"ok": code == 0, **judged, **bench.figures}), flush=True)  # noqa: T201 - the result
    return code


def _run(bench: Bench) -> int:
    async def work() -> None:
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if task is not None:
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await bench.run()

    try:
        asyncio.run(work())
    except (Expected, TimeoutError) as failed:
        bench.figures["failed"] = str(failed) or "a load process did not answer in time"
        bench.progress.print(f"[bold red]FAILED[/bold red] {failed}")
        return EXIT_FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        bench.figures["failed"] = "interrupted"
        return 130
    return 0


with contextlib.suppress(BrokenPipeError):
    sys.exit(main(sys.argv[1:]))
