"""A virtual machine is frozen with all its clocks while its site is active: how long are two sites active?

    python tests/chaos/guest_run.py --kernel /boot/vmlinuz-VERSION --modules /lib/modules/VERSION

No software in the guest can prevent it; this measures the window, from the instant at which the guest goes on until
its platform has ended, by a license server outside. Needs QEMU and a Linux kernel with virtio_net as an uncompressed
module; --accelerator kvm where the host can, else the processor is emulated (tcg), slowly, and --ttl must allow for it.

Exit status 0: each guest was found out, within one lease of its own clock; 1: otherwise; 2: wrong arguments; 128 + n:
ended by signal n. With --json the last line of stdout is one object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
from pathlib import Path

from fencerig.activity import spread
from guestrig.guest_machine import Emulator
from guestrig.guest_world import GuestWorld, Window

from proto.errors import BadValue, LocalFault
from witness.demo.command import parse_ttl
from witness.demo.eyes import Expected
from witness.demo.layout import Layout
from witness.demo.processes import Fleet

LATE_MS = 250
"""For the emulator to be told to go on, and a sign on its way."""


class Run:
    def __init__(self, options: argparse.Namespace, ttl_ms: int) -> None:
        self.options = options
        self.ttl_ms = ttl_ms
        self.windows: list[Window] = []
        self.failed: str | None = None
        self.signalled: signal.Signals | None = None

    async def perform(self) -> None:
        work = asyncio.create_task(self._all())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number, work)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    def _interrupt(self, number: int, work: asyncio.Task[None]) -> None:
        if self.signalled is None:
            self.signalled = signal.Signals(number)
            work.cancel()

    async def _all(self) -> None:
        options = self.options
        layout = Layout(self.ttl_ms)
        emulator = Emulator(shlex.split(options.qemu), options.accelerator, options.kernel)
        world = GuestWorld(layout, Fleet(), emulator)
        try:
            await world.start(options.modules)
            for number in range(options.trials):
                await world.at_home()
                window = await world.freeze()
                self.windows.append(window)
                say(f"{number + 1}/{options.trials}: {dataclasses.asdict(window)}")
                if window.window_ms > self.ttl_ms + LATE_MS:
                    raise Expected(f"the site went on for {window.window_ms:.0f} ms, longer than a lease")
        except (Expected, LocalFault, OSError, TimeoutError) as fault:
            self.failed = f"{type(fault).__name__}: {fault}"
            say(f"FAILED {self.failed}")
        finally:
            await world.end()
            if self.failed is not None or options.keep:
                say(f"kept: {layout.root}")
            else:
                layout.remove()

    def told(self) -> dict[str, object]:
        names = [field.name for field in dataclasses.fields(Window)]
        return {
            "ok": self.failed is None and self.signalled is None,
            "ttl_ms": self.ttl_ms,
            "accelerator": self.options.accelerator,
            "cores": os.cpu_count(),
            "trials": len(self.windows),
            **{name: spread([getattr(one, name) for one in self.windows]) for name in names},
            "failed": self.failed,
            "interrupted": None if self.signalled is None else self.signalled.name,
        }


def say(text: str) -> None:
    print(f"guest: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="guest_run.py", description=__doc__, formatter_class=as_written)
    parser.add_argument("--kernel", type=Path, required=True, help="its image, as in /boot")
    parser.add_argument("--modules", type=Path, required=True, help="the directory of its modules")
    parser.add_argument("--qemu", default="qemu-system-x86_64", help="the program, with options of its own if need be")
    parser.add_argument("--accelerator", choices=("kvm", "tcg"), default="kvm", help="tcg emulates the processor")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--ttl", default="10s")
    parser.add_argument("--keep", action="store_true", help="keep logs and configurations")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(arguments)
    try:
        run = Run(options, parse_ttl(options.ttl))
    except BadValue as refused:
        parser.error(str(refused))
    for name in ("kernel", "modules"):
        if not getattr(options, name).exists():
            parser.error(f"--{name} {getattr(options, name)}: there is no such file")
    asyncio.run(run.perform())
    told = run.told()
    for name, value in told.items():
        print(f"{name:<16} {value}")
    if options.json:
        print(json.dumps(told), flush=True)
    return 128 + run.signalled if run.signalled is not None else 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
