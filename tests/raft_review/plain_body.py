"""The body `plain`: the library as it is shipped, on real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from plain_library import PlainClock
from plain_node import Message, PlainFiles, PlainNode, PlainSettings, State
from review_cluster import THREE, Cluster, Favour


class PlainCluster(Cluster):
    name = "plain"

    def __init__(self, root: Path, ids: tuple[str, ...] = THREE, settings: PlainSettings | None = None) -> None:
        super().__init__(ids)
        self.settings = settings or PlainSettings()
        self.files = {name: PlainFiles(root / name) for name in ids}
        self.clock = PlainClock()
        self.clock.show(self.now_s)
        self.state: Any = State
        self.on_put: Callable[[str, bytes], None] | None = None

    def open(self, name: str) -> PlainNode:
        def send(to: str, message: Message) -> None:
            self.post(name, to, message)

        def on_put(data: bytes) -> None:
            if self.on_put is not None:
                self.on_put(name, data)

        rng, peers = Favour(self, name), self.peers(name)
        return PlainNode(name, peers, self.files[name], send, self.settings, self.clock, rng, on_put, self.state)

    def pass_time(self) -> None:
        super().pass_time()
        self.clock.show(self.now_s)

    def snapshot_done(self, name: str) -> None:
        node = self.nodes[name]
        if isinstance(node, PlainNode):
            node.await_dump()

    def crash(self, name: str) -> None:
        node = self.nodes[name]
        super().crash(name)
        if isinstance(node, PlainNode):
            node.close()

    def power_cut(self, *names: str) -> None:
        for name in names:
            self.crash(name)
            self.files[name].power_cut()
