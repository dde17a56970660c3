"""Whether a log or a snapshot is of the cluster that this node is configured for (FAULTS O1, O8)."""

from __future__ import annotations

from proto.errors import LocalFault
from proto.units import ClusterId, WitnessId
from witness.core.state import ClusterState


class WrongCluster(LocalFault):
    """The log or snapshot belongs to another cluster than the configuration says; the process must end."""


def is_ours(state: ClusterState, cluster: ClusterId, witnesses: tuple[WitnessId, ...]) -> bool:
    """False while the state was not founded. Raises WrongCluster."""
    if state.cluster is None:
        return False
    if state.cluster != cluster or state.witnesses != witnesses:
        raise WrongCluster(
            f"the log was founded as cluster {state.cluster} with witnesses {', '.join(state.witnesses)}, but "
            f"this node is configured for {cluster} with {', '.join(witnesses)}: correct the "
            "configuration, or this node's data directory belongs elsewhere"
        )
    return True
