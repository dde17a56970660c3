"""How a witness introduces itself to another one, and whom it refuses because of its restore lineage.

Pure but for the store's marks: the real transport and the simulated one say the very same.
"""

from __future__ import annotations

from proto.errors import RemoteFault
from proto.features import FEATURE_MAX
from proto.units import WitnessId
from witness.raft.admission import Speaker
from witness.raft.introduction import Hello
from witness.raft.lineage import lineage_of, lineage_words, lineages_fit
from witness.raft.peer_disks import position_of
from witness.raft.standing import Standing
from witness.raft.store import Store


def our_hello(
    store: Store, standing: Standing, process: bytes, start: tuple[int, tuple[bytes, ...]], to: WitnessId | None
) -> Hello:
    """`start`: as record_start gave it, and on disk by now. `to`: whom we dialled, None when we were dialled."""
    starts, past = start
    speaker = Speaker(
        peer=store.witness_id,
        disk=store.incarnation,
        learner=standing is Standing.LEARNER,
        position=position_of(store),
        process=process,
        starts=starts,
        past=past,
    )
    return Hello(store.cluster_id, to, speaker, lineage_of(store), FEATURE_MAX)


def require_fitting_lineage(store: Store, standing: Standing, hello: Hello) -> None:
    """Raises RemoteFault with what to do."""
    own, own_learner = lineage_of(store), standing is Standing.LEARNER
    if not lineages_fit(own, hello.lineage, own_learner=own_learner, their_learner=hello.speaker.learner):
        raise RemoteFault(lineage_words(store.witness_id, own, hello.witness, hello.lineage))
