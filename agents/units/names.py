"""Unit names: template, instance, type, and the drop-in directories that belong to a name. Pure."""

from __future__ import annotations


def unit_type(name: str) -> str:
    return name.rpartition(".")[2]


def is_template(name: str) -> bool:
    return name.rpartition(".")[0].endswith("@")


def template_of(name: str) -> str | None:
    """`foo@.service` for `foo@bar.service`, None for what is no instance."""
    stem, _, kind = name.rpartition(".")
    prefix, at, instance = stem.partition("@")
    return f"{prefix}@.{kind}" if at and instance else None


def covers(name: str, other: str) -> bool:
    """`other` is the unit, or, for a template, one of its instances."""
    return other == name or (is_template(name) and template_of(other) == name)


def sibling(name: str, kind: str) -> str:
    """`foo.service` for `foo.timer`: what a timer, path or socket starts unless it says otherwise."""
    return f"{name.rpartition('.')[0]}.{kind}"


def drop_in_names(name: str) -> list[str]:
    """Names whose `.d` directories apply, the most specific first: itself, its template, prefixes up to each dash."""
    found = [name]
    template = template_of(name)
    if template is not None:
        found.append(template)
    stem, _, kind = name.rpartition(".")
    prefix = stem.partition("@")[0]
    while (dash := prefix.rfind("-", 0, len(prefix) - 1)) >= 0:
        prefix = prefix[: dash + 1]
        found.append(f"{prefix}.{kind}")
    return found
