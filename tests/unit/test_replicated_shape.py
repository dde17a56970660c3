"""What each feature level looks like on the wire and in images, pinned: a change without a level parts two versions.

When this fails, you changed what is replicated. Before a release, `python tests/unit/test_replicated_shape.py` writes
the file anew. After it, raise FEATURE_MAX in proto/features.py, name what is new in SINCE, and write the file of the
new level; the files of released levels never change.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

from proto import codec
from proto.features import FEATURE_MAX, SINCE
from proto.messages import GroupAnswer
from proto.schema import fields_of, is_record, members_of
from witness.core.state import ClusterState

FAMILIES = (codec.COMMANDS, codec.EVENTS, codec.AGENT_MESSAGES, codec.REPORTS)


def parts(hint: object) -> Iterator[object]:
    """Records and enums within an annotation."""
    if hasattr(hint, "__supertype__"):
        yield from parts(hint.__supertype__)
    elif is_record(hint) or (isinstance(hint, type) and issubclass(hint, Enum)):
        yield hint
    for argument in typing.get_args(hint):
        yield from parts(argument)


def name_of(hint: object) -> str:
    if hasattr(hint, "__supertype__"):
        return f"{hint.__name__}:{name_of(hint.__supertype__)}"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return f"{name_of(typing.get_args(hint)[0])} or nothing"
    inside = ", ".join("..." if one is Ellipsis else name_of(one) for one in typing.get_args(hint))
    return f"{origin.__name__}[{inside}]"


def shape(level: int) -> str:
    known: dict[str, str] = {}

    def describe(cls: type) -> None:
        if cls.__name__ in known:
            return
        if issubclass(cls, Enum):
            values = ", ".join(str(member.value) for member in members_of(cls, level))
            known[cls.__name__] = f"{cls.__name__}: one of {values}"
            return
        fields = fields_of(cls, level)
        inside = "".join(f"\n    {name}: {name_of(hint)}" for name, hint in fields)
        known[cls.__name__] = f"{cls.__name__}:{inside}"
        for _, hint in fields:
            for part in parts(hint):
                describe(part)

    lines = []
    for family in FAMILIES:
        tags = {tag: cls for tag, cls in family._types.items() if SINCE.get(cls.__name__, 1) <= level}
        lines.append(f"{family.name}: " + ", ".join(f"{tag} {cls.__name__}" for tag, cls in sorted(tags.items())))
        for cls in tags.values():
            describe(cls)
    describe(ClusterState)
    return "\n".join([*lines, "", *(known[name] for name in sorted(known))]) + "\n"


def file_of(level: int) -> Path:
    return Path(__file__).with_name(f"replicated_shape_{level}.txt")


@pytest.mark.parametrize("level", range(1, FEATURE_MAX + 1))
def test_a_level_looks_as_it_always_did(level: int) -> None:
    assert shape(level) == file_of(level).read_text(encoding="utf-8"), __doc__


def test_whatever_came_later_is_named_after_something_that_exists() -> None:
    newest = shape(FEATURE_MAX)
    told = {cls.__name__ for family in (codec.WITNESS_MESSAGES, codec.AGENT_MESSAGES) for cls in family._tags}
    told |= {
        part.__name__ for cls in codec.WITNESS_MESSAGES._tags for _, hint in fields_of(cls) for part in parts(hint)
    }
    told |= {part.__name__ for _, hint in fields_of(GroupAnswer) for part in parts(hint)}
    for name, level in SINCE.items():
        assert 1 < level <= FEATURE_MAX, name
        assert name.split(".")[0] in newest or name.split(".")[0] in told, name


def test_the_shape_says_everything_down_to_the_members() -> None:
    text = shape(1)
    for words in ("12 RaiseFeatureLevel", "Phase: one of barred, ", "LeaseConstants:\n    ttl_ms: int", "Epoch:int"):
        assert words in text


if __name__ == "__main__":
    for one in range(1, FEATURE_MAX + 1):
        file_of(one).write_text(shape(one), encoding="utf-8")
