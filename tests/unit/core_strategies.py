"""Random commands around one group: valid, nearly valid and absurd."""

from __future__ import annotations

from core_rig import AUTHOR, CLUSTER, CONSTANTS, A, B, C, G, W, config, entry, frame, report, token
from hypothesis import strategies as st

from proto.commands import (
    Cause,
    ConfigureGroup,
    DeleteGroup,
    FoundCluster,
    Grant,
    HeartbeatFrame,
    QuarantineCause,
    ReleaseLease,
    Revoke,
    SetMaintenance,
    SetMode,
    SetQuarantine,
    Vote,
    VoteKind,
    Votes,
)
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import DataChecks, SiteState
from proto.lease import LeaseConstants
from proto.messages import ReleaseKind
from proto.units import Claim, Epoch, GroupId, Incarnation, WitnessId

EPOCHS = st.integers(0, 8).map(Epoch)
SITES = st.sampled_from((A, B, C))
GROUPS = st.sampled_from((G, G, G, GroupId("mail")))
INCARNATIONS = st.sampled_from(("i1", "i2"))
CLAIMS = st.sampled_from(("claim", "other"))
REPORTS = st.builds(
    report,
    state=st.sampled_from(SiteState),
    enforce=st.sampled_from((True, True, False)),
    ready=st.booleans(),
    healthy=st.booleans(),
    data_checks=st.sampled_from(DataChecks),
    epoch_bound=EPOCHS,
    finished_epoch=EPOCHS,
    group_version=st.integers(0, 4),
    store_id=st.sampled_from((token("store"), token("other"))),
)
CONFIGS = st.builds(
    config,
    group=GROUPS,
    sites=st.sampled_from(((A, B), (B, A), (A, B, C), (A, C), (A,))),
    constants=st.sampled_from((CONSTANTS, LeaseConstants(2_000, 10_000, 5), LeaseConstants(1, 1, 1))),
    mode=st.sampled_from(Mode),
)
HEARTBEATS = st.builds(
    lambda site, incarnation, seq, group, epoch, claim, said, lag: frame(
        site,
        entry(group, epoch=epoch, claim=token(claim) if epoch else bytes(16), said=said, lag_ms=lag),
        incarnation=incarnation,
        seq=seq,
    ),
    SITES,
    INCARNATIONS,
    st.integers(1, 40),
    GROUPS,
    EPOCHS,
    CLAIMS,
    REPORTS | st.just(b"rubbish"),
    st.sampled_from((-1, 0, 5_000)),
)
TOKENS = INCARNATIONS.map(lambda name: Incarnation(token(name)))
COMMANDS = st.one_of(
    st.just(FoundCluster(CLUSTER, W)),
    st.just(FoundCluster("d" * 32, W)),
    st.builds(ConfigureGroup, CONFIGS, st.integers(0, 4), st.just(AUTHOR)),
    st.builds(DeleteGroup, GROUPS, st.just(AUTHOR)),
    HEARTBEATS,
    HEARTBEATS,
    HEARTBEATS,
    st.binary(max_size=40).map(HeartbeatFrame),
    st.builds(
        Votes,
        st.sampled_from((*W, WitnessId("w9"))),
        st.lists(st.builds(Vote, st.sampled_from(VoteKind), GROUPS, EPOCHS, st.integers(0, 4)), max_size=4).map(tuple),
    ),
    st.builds(
        Grant,
        GROUPS,
        EPOCHS,
        EPOCHS,
        SITES,
        TOKENS,
        st.sampled_from(Cause),
        st.just(Reason.FIRST_ACTIVATION),
        st.just(AUTHOR),
    ),
    st.builds(
        ReleaseLease,
        GROUPS,
        SITES,
        TOKENS,
        EPOCHS,
        CLAIMS.map(lambda name: Claim(token(name))),
        st.sampled_from(ReleaseKind),
        st.just("down"),
    ),
    st.builds(
        Revoke,
        GROUPS,
        EPOCHS,
        SITES,
        st.sampled_from(Cause),
        st.sampled_from((Reason.OPERATOR_ASKED, Reason.HOLDER_UNFIT)),
        st.just(AUTHOR),
    ),
    st.builds(SetMode, GROUPS, st.sampled_from(Mode), st.just(AUTHOR)),
    st.builds(SetMaintenance, GROUPS, SITES, st.booleans(), st.just(AUTHOR)),
    st.builds(
        SetQuarantine,
        GROUPS,
        SITES,
        st.booleans(),
        st.lists(st.sampled_from(QuarantineCause), max_size=2).map(tuple),
        st.just(AUTHOR),
    ),
)
ENTRIES = st.lists(st.lists(COMMANDS, min_size=1, max_size=5), max_size=25)
