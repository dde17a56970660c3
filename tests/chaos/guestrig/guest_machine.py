"""One virtual machine: started, frozen with all its clocks, and let go on, over QEMU's own control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from witness.demo.processes import Child, Fleet

ANSWER_S = 10.0
MEMORY_MB = 1_500


@dataclass(frozen=True, slots=True)
class Emulator:
    """What runs the guest: a program with its first options (`-L` and the like), its accelerator, a kernel."""

    command: Sequence[str]
    accelerator: str
    kernel: Path


class Machine:
    def __init__(self, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.child = child
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, fleet: Fleet, emulator: Emulator, image: Path, log: Path, forwards: dict[int, int]) -> Machine:
        """`forwards`: ports of this machine's loopback to ports of the guest."""
        control = log.with_suffix(".qmp")
        network = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in forwards.items())
        child = await fleet.start(
            "guest",
            [
                *emulator.command,
                *("-accel", emulator.accelerator, "-cpu", "max", "-m", str(MEMORY_MB)),
                *("-kernel", str(emulator.kernel), "-initrd", str(image), "-append", "console=ttyS0 panic=1 quiet"),
                *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
                *("-netdev", f"user,id=n,{network}", "-device", "virtio-net-pci,netdev=n,romfile="),
                *("-qmp", f"unix:{control},server=on,wait=off"),
            ],
            log,
        )
        async with asyncio.timeout(ANSWER_S):
            while True:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_unix_connection(str(control))
                    break
                await asyncio.sleep(0.05)
        machine = cls(child, reader, writer)
        await machine._line()  # its greeting
        await machine.do("qmp_capabilities")
        return machine

    async def freeze(self) -> None:
        """Returns when no processor of it runs; its clocks stand still with it."""
        await self.do("stop")

    async def go_on(self) -> None:
        await self.do("cont")

    async def do(self, what: str) -> None:
        self._writer.write(json.dumps({"execute": what}).encode() + b"\n")
        while "return" not in await self._line():
            continue  # an event

    async def _line(self) -> dict[str, Any]:
        return dict(json.loads(await asyncio.wait_for(self._reader.readline(), ANSWER_S)))
