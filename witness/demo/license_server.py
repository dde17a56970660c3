"""The vendor of the demo's platform: a license server of its own process and clock, and thereby the referee.

It knows nothing of witnesses and sites. An instance activates a license, says every few milliseconds that it is
alive, and gives the license back. All of it is stamped on arrival with this process's CLOCK_MONOTONIC, kept in
memory and appended to a file. Two instances at once are not prevented but recorded: a referee that interfered
would hide what it is there to see.

    POST /activate    {"key", "instance", "site", "epoch"}     GET /verdict?key=K    lives, overlaps, moves, alarms
    POST /alive       the same                                 GET /signs?key=K      the last signs as they came
    POST /deactivate  the same                                 GET /clock            this process's clock, in ns
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from witness.demo.referee import Referee, Sign, SignKind

BODY_BYTES_MAX = 4_096
TEXT_CHARS_MAX = 128
KEYS_MAX = 64
SIGNS_KEPT = 100_000
LOG_BYTES_MAX = 64 * 1024 * 1024
"""Signs beyond this are counted and summed up, and no longer written one by one."""


class SignLog:
    """Append-only; flushed with every activation and at least once a second, so that a crash loses little."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._written = 0
        self._flushed_ns = 0

    def append(self, sign: Sign) -> None:
        if self._written > LOG_BYTES_MAX:
            return
        self._written += self._file.write(json.dumps(sign_fields(sign)) + "\n")
        if sign.kind is not SignKind.ALIVE or sign.at_ns - self._flushed_ns > 1_000_000_000:
            self._flushed_ns = sign.at_ns
            self._file.flush()


def sign_fields(sign: Sign) -> dict[str, object]:
    return {**dataclasses.asdict(sign), "kind": sign.kind.value}


class LicenseServer:
    """One process, one thread, one clock: signs are taken in the order in which they arrived."""

    def __init__(self, log: SignLog) -> None:
        self._log = log
        self._referees: dict[str, Referee] = {}
        self._signs: deque[Sign] = deque(maxlen=SIGNS_KEPT)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        for kind in SignKind:
            app.router.add_post(f"/{kind.value}", self._taker(kind))
        app.router.add_get("/verdict", self._verdict)
        app.router.add_get("/signs", self._list)
        app.router.add_get("/clock", self._clock)
        return app

    def _taker(self, kind: SignKind) -> Any:
        async def take(request: web.Request) -> web.Response:
            body = await request.read()
            at_ns = time.monotonic_ns()
            sign = read_sign(kind, body, at_ns)
            referee = self._referees.get(sign.key)
            if referee is None:
                if len(self._referees) >= KEYS_MAX:
                    raise web.HTTPTooManyRequests(text=f"{KEYS_MAX} keys are known here already")
                referee = self._referees.setdefault(sign.key, Referee())
            alarms = referee.hear(sign)
            self._signs.append(sign)
            self._log.append(sign)
            for alarm in alarms:
                sys.stderr.write(f"ALARM {alarm.kind.value}: {alarm.text}\n")
            return web.json_response({"ok": True, "alarms": [alarm.text for alarm in alarms]})

        return take

    async def _verdict(self, request: web.Request) -> web.Response:
        return web.json_response(verdict_fields(self._referee(request)))

    async def _list(self, request: web.Request) -> web.Response:
        key = request.query.get("key")
        return web.json_response([sign_fields(sign) for sign in self._signs if key in (None, sign.key)])

    async def _clock(self, _request: web.Request) -> web.Response:
        return web.json_response({"monotonic_ns": time.monotonic_ns()})

    def _referee(self, request: web.Request) -> Referee:
        return self._referees.get(request.query.get("key", ""), Referee())


def read_sign(kind: SignKind, body: bytes, at_ns: int) -> Sign:
    """Raises HTTPBadRequest with the reason."""
    try:
        raw = json.loads(body)
        texts = {name: raw[name] for name in ("key", "instance", "site")}
        epoch = raw["epoch"]
    except (ValueError, TypeError, KeyError) as error:
        raise web.HTTPBadRequest(text=f"a JSON object with key, instance, site and epoch is needed: {error}") from error
    for name, value in texts.items():
        if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARS_MAX:
            raise web.HTTPBadRequest(text=f"{name} must be a text of 1 to {TEXT_CHARS_MAX} characters")
    if type(epoch) is not int or epoch < 0:
        raise web.HTTPBadRequest(text="epoch must be a number, 0 or more")
    return Sign(at_ns, kind, texts["key"], texts["instance"], texts["site"], epoch)


def verdict_fields(referee: Referee) -> dict[str, object]:
    verdict = referee.verdict()
    return {
        "activations": verdict.activations,
        "overlap_s": verdict.overlap_s,
        "overlaps": [dataclasses.asdict(overlap) for overlap in verdict.overlaps],
        "moves": [{**dataclasses.asdict(move), "seconds": move.seconds} for move in verdict.moves],
        "alarms": [{**dataclasses.asdict(alarm), "kind": alarm.kind.value} for alarm in verdict.alarms],
        "lives": [dataclasses.asdict(life) for life in referee.lives],
    }


async def serve(port: int, log: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with log.open("a", encoding="utf-8") as file:
        runner = web.AppRunner(LicenseServer(SignLog(file)).application(), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.2).start()
            await stop.wait()
        finally:
            await runner.cleanup()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m witness.demo.license_server", description="The demo's vendor.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True, help="file to append every sign to, one JSON object a line")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.port, options.log))


if __name__ == "__main__":
    main(sys.argv[1:])
