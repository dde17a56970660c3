"""Stores of a witness as the tests of backup and restore need them: founded, with groups, events and a log."""

from __future__ import annotations

from pathlib import Path

from core_rig import AUTHOR, CLUSTER, A, W, config, entry_bytes, frame
from core_rig import entry as group_entry

from proto import codec
from proto.commands import ConfigureGroup, FoundCluster, SetMode
from proto.edge.config_types import Address
from proto.groups import Mode
from proto.units import ClusterId, WitnessId
from witness.core.machine import Machine
from witness.raft.messages import NO_OP, REGULAR
from witness.raft.snapshot_file import Snapshot, encode_snapshot
from witness.raft.store import RaftState, Store, create_store, open_store
from witness.settings import Listen, TlsPaths, WitnessSettings

TERM = 7


def settings_of(directory: Path, witness: WitnessId = W[0], **ports: int) -> WitnessSettings:
    """Peers at addresses where nobody listens, unless told."""
    none = Path("none")
    return WitnessSettings(
        cluster=ClusterId(CLUSTER),
        witness=witness,
        data_dir=directory / f"data-{witness}",
        listen=Listen("127.0.0.1", 1),
        listen_peers=Listen("127.0.0.1", 2),
        peers=tuple((name, Listen(*Address("127.0.0.1", ports.get(name, 1)))) for name in W if name != witness),
        tls=TlsPaths(none, none, none, None),
    )


class Life:
    """What a witness did: entries of a log, and the machine that applied them."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.log: list[tuple[bytes, int, int]] = [(bytes([NO_OP]), 1, 1)]
        self.events: list[tuple[int, bytes]] = []
        self.apply(entry_bytes([FoundCluster(CLUSTER, W), ConfigureGroup(config(), 0, AUTHOR)]))
        self.apply(entry_bytes([frame(A, group_entry())]))

    def apply(self, data: bytes) -> None:
        index = self.log[-1][1] + 1
        self.log.append((bytes([REGULAR]) + data, index, TERM))
        applied = self.machine.apply(index, data)
        self.events += [(event.seq, codec.EVENTS.encode(event)) for event in applied.events]

    def busy(self, changes: int) -> Life:
        """So many events more."""
        for number in range(changes):
            mode = Mode.MANUAL if number % 2 == 0 else Mode.AUTOMATIC
            self.apply(entry_bytes([SetMode(config().group, mode, AUTHOR)], number))
        return self

    def store(
        self, settings: WitnessSettings, *, snapshot_at: int | None = None, unsaved: int = 0, lacking: range = range(0)
    ) -> None:
        """On disk: with the log behind the snapshot only, without the last events, or with a gap in them."""
        create_store(settings.data_dir, settings.cluster, settings.witness)
        store = open_store(settings.data_dir, settings.cluster, settings.witness)
        kept = self.log if snapshot_at is None else self.log[snapshot_at - 2 :]
        for command, index, term in kept:
            store.add_entry(command, index, term)
        store.set_state(RaftState(TERM, None, kept[-1][1], kept[-1][2]))
        saved = self.events[: len(self.events) - unsaved]
        store.append_events([item for item in saved if item[0] not in lacking])
        store.commit()
        if snapshot_at is not None:
            self._save_snapshot(store, snapshot_at)
        store.close()

    def _save_snapshot(self, store: Store, index: int) -> None:
        machine = Machine()
        for command, at, _ in self.log[1:index]:
            machine.apply(at, command[1:])
        snapshot = Snapshot(self.log[index - 2], self.log[index - 1], machine.snapshot())
        store.save_snapshot(encode_snapshot(snapshot, ClusterId(CLUSTER)))


def opened(settings: WitnessSettings) -> Store:
    return open_store(settings.data_dir, settings.cluster, settings.witness)
