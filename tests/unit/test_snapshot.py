"""An image is exactly what was written, or refused as a whole; equal states have equal bytes."""

from __future__ import annotations

import pytest
from core_rig import A, B, C, Rig, config, token
from hypothesis import given
from hypothesis import strategies as st

from proto import codec
from proto.features import FEATURE_MAX, UpgradeRequired
from proto.units import WitnessId
from witness.core.machine import Machine
from witness.core.snapshot import ImageRefused, decode_image, encode_image, state_hash
from witness.core.state import ClusterState


def image_of() -> bytes:
    rig = Rig(config(sites=(A, B, C)))
    rig.hold()
    rig.one(rig.revoke_command())
    rig.vote(WitnessId("w2"), epoch=2, number=1)
    rig.beat(A, epoch=2, claim=token("claim"))
    return rig.machine.snapshot()


def newer(image: bytes | bytearray) -> bool:
    """Its first two bytes say a level above ours: nothing else of it is looked at."""
    return (codec.level_of(bytes(image)) or 0) > FEATURE_MAX


def test_an_empty_state_and_a_full_one_come_back():
    for image in (encode_image(ClusterState()), image_of()):
        assert encode_image(decode_image(image)) == image


def test_equal_states_have_equal_bytes_whatever_the_order_of_their_sets():
    one, other = Machine(), Machine()
    one.restore(image_of())
    other.restore(image_of())
    group = other.state.groups["erp"]
    group.sites = dict(reversed(group.sites.items()))
    for machine, names in ((one, ("w1", "w3")), (other, ("w3", "w1"))):
        for name in names:
            machine.state.groups["erp"].lease.votes.add(WitnessId(name))
    assert one.state_hash() == other.state_hash()


@given(st.data())
def test_any_flipped_byte_is_refused_and_changes_nothing(data):
    image = bytearray(image_of())
    at = data.draw(st.integers(0, len(image) - 1))
    image[at] ^= data.draw(st.integers(1, 255))
    machine = Rig().machine
    before = state_hash(machine.state)
    with pytest.raises(UpgradeRequired if newer(image) else ImageRefused):
        machine.restore(bytes(image))
    assert machine.state_hash() == before


@given(st.integers(0, 3000))
def test_any_cut_image_is_refused(length):
    image = image_of()
    with pytest.raises(ImageRefused):
        decode_image(image[: min(length, len(image) - 1)])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (codec.pack([0, b"", b""]), "was expected"),
        (codec.pack([1, b"", b"x"]), "damaged"),
        (codec.pack([1, b"", "text"]), "damaged"),
        (codec.pack([1]), "was expected"),
        (codec.pack({}), "snapshot"),
        (b"", "snapshot"),
    ],
)
def test_a_refusal_says_what_is_wrong(image, says):
    with pytest.raises(ImageRefused, match=says):
        decode_image(image)
