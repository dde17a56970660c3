"""A configuration file becomes a checked model, or a list of exact errors.

Rule: whoever reads an error knows where (`file:line: field.path`), what (`'value'`), why (the rule) and what to
do (the remedy), and sees every error of the file at once. Nothing is guessed: unknown keys are refused with the
nearest known one, repeated keys are refused (YAML would keep the last), text is never coerced to a number.

Rejected: YAML aliases and tags (an alias bomb validates for hours, a tag hides what a value is).

    class TlsFiles(ConfigModel): ...
    settings = load_config(Path("witness.yaml"), WitnessConfig)     # raises ConfigRefused
"""

from __future__ import annotations

import difflib
import json
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from proto.errors import VALUE_CHARS_MAX, BadValue, LocalFault
from proto.invariants import require

CONFIG_BYTES_MAX = 4 * 1024 * 1024
"""Ten thousand groups fit; anything larger is not a configuration file."""
CONFIG_DEPTH_MAX = 24
PROBLEMS_SHOWN_MAX = 20

_SECRET = re.compile(r"password|passwd|secret|token", re.IGNORECASE)
_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)\S*[@/?]\S*", re.IGNORECASE)
"""A password may stand before the host, a token behind it."""
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null"))

Path_ = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""


class ConfigModel(BaseModel):
    """Base of all configuration: strict, closed, immutable. Write defaults so that an empty mapping is safe."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One broken rule. `path` and `line` are empty when the file as a whole is meant."""

    path: str
    line: int | None
    value: str
    rule: str
    remedy: str

    def render(self, file: str) -> str:
        place = file if self.line is None else f"{file}:{self.line}"
        parts = [place, *([self.path] if self.path else []), *([self.value] if self.value else [])]
        return f"{': '.join(parts)}: {self.rule}; {self.remedy}"


class ConfigRefused(LocalFault):
    """The file is not taken; nothing of it is used. `problems` has every rule that it breaks."""

    def __init__(self, file: str, problems: tuple[ConfigProblem, ...]) -> None:
        lines = [problem.render(file) for problem in problems[:PROBLEMS_SHOWN_MAX]]
        if len(problems) > PROBLEMS_SHOWN_MAX:
            lines.append(f"{file}: and {len(problems) - PROBLEMS_SHOWN_MAX} more problems")
        super().__init__("\n".join(lines))
        self.file = file
        self.problems = problems


Model = TypeVar("Model", bound=ConfigModel)


def refusal(rule: str, remedy: str) -> PydanticCustomError:
    """What a validator raises: the rule and the remedy in words; place and value are added from the file."""
    return PydanticCustomError("config_rule", "{rule}", {"rule": rule, "remedy": remedy})


def refusal_of(error: BadValue) -> PydanticCustomError:
    """A BadValue of the core, raised inside of a validator."""
    return refusal(error.rule, error.remedy)


def load_config(path: Path, model: type[Model]) -> Model:
    """Reads and checks a file. Relative paths in it are taken from the file's own directory."""
    return parse_config(_read(path), model, file=str(path), base=path.absolute().parent)


def parse_config(text: str, model: type[Model], *, file: str, base: Path) -> Model:
    tree = _Tree(text, file)
    try:
        # By way of JSON, because there arrays are tuples and text is an enum's value even in strict mode.
        return model.model_validate_json(json.dumps(tree.data), context={"base": base})
    except ValidationError as error:
        found = [_problem(one, model, tree) for one in _own_errors(error.errors(include_url=False))]
        raise ConfigRefused(file, tuple(sorted(found, key=lambda problem: problem.line or 0))) from error


def _own_errors(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without "too short" for a list whose elements are refused: pydantic counts only what it could read."""
    places = [one["loc"] for one in errors]
    return [
        one
        for one in errors
        if one["type"] != "too_short"
        or not any(len(place) > len(one["loc"]) and place[: len(one["loc"])] == one["loc"] for place in places)
    ]


def config_schema(model: type[ConfigModel]) -> dict[str, Any]:
    """JSON Schema for editors and other tools."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


def _read(path: Path) -> str:
    def refused(rule: str, remedy: str) -> ConfigRefused:
        return ConfigRefused(str(path), (ConfigProblem("", None, "", rule, remedy),))

    try:
        with path.open("rb") as stream:
            data = stream.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise refused(f"cannot be read ({error.strerror})", "give the path of a readable configuration file") from error
    if len(data) > CONFIG_BYTES_MAX:
        raise refused(f"is larger than {CONFIG_BYTES_MAX} bytes", "is this the right file?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(f"is not UTF-8 (byte {error.start})", "save it as UTF-8 text") from error


class _Loader(yaml.SafeLoader):
    """YAML's plain core: no aliases, no tags, no dates, no repeated keys, bounded depth."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way to name resolvers, shared by its loaders
        first: [(tag, pattern) for tag, pattern in found if tag in _PLAIN_TAGS]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def _mark(self) -> Any:
        return self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stub has no type here

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _YamlRule("aliases are not taken", "write the value out", self._mark())
        self.depth += 1
        if self.depth > CONFIG_DEPTH_MAX:
            rule = f"nested deeper than {CONFIG_DEPTH_MAX}"
            raise _YamlRule(rule, "is this the right file?", self._mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node.tag not in _PLAIN_TAGS:
            raise _YamlRule(f"the tag {node.tag} is not taken", "write a plain value", node.start_mark)
        return node


class _YamlRule(Exception):
    """Internal: becomes a ConfigRefused before it leaves this file."""

    def __init__(self, rule: str, remedy: str, mark: Any) -> None:
        super().__init__(rule)
        self.rule, self.remedy = rule, remedy
        self.line: int | None = mark.line + 1 if mark is not None else None


class _Tree:
    """The file's data and, for each path, its line."""

    def __init__(self, text: str, file: str) -> None:
        self.lines: dict[Path_, int] = {}
        try:
            loader = _Loader(text)
            try:
                node = loader.get_single_node()
                self.data = None if node is None else self._value(loader, node, ())
            finally:
                loader.dispose()
        except _YamlRule as error:
            raise ConfigRefused(file, (ConfigProblem("", error.line, "", error.rule, error.remedy),)) from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            line = None if mark is None else mark.line + 1
            rule = f"is not YAML: {getattr(error, 'problem', None) or error}"
            remedy = "check indentation, quotes and colons there"
            raise ConfigRefused(file, (ConfigProblem("", line, "", rule, remedy),)) from error
        if self.data is None:
            self.data = {}

    def _value(self, loader: _Loader, node: yaml.Node, path: Path_) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(loader, node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, one, (*path, at)) for at, one in enumerate(node.value)]
        value = loader.construct_object(node)
        if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):  # noqa: PLR0124  # NaN
            raise _YamlRule("is not a finite number", "write a number", node.start_mark)
        return value

    def _items(self, loader: _Loader, node: yaml.MappingNode, path: Path_) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                shown = getattr(key_node, "value", "?")
                raise _YamlRule(f"the key {shown!s:.40} is not text", "put it in quotes", key_node.start_mark)
            key: str = key_node.value
            if key in seen:
                rule = f"the key {key!r} stands here and in line {seen[key]}"
                raise _YamlRule(rule, "remove one of the two", key_node.start_mark)
            seen[key] = line
            yield key, self._value(loader, value_node, (*path, key))
            self.lines[(*path, key)] = line

    def written(self, path: Path_, otherwise: Any) -> Any:
        """The value as it stands in the file: validators may have turned it into something else."""
        value: Any = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return otherwise
        return value

    def line_of(self, path: Path_) -> int | None:
        """The line of the path, or of the nearest thing around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path) if path else None


def path_words(path: Path_) -> str:
    """("peers", 1, "id") as peers[1].id."""
    words = ""
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else part
    return words


def _problem(error: ErrorDetails, model: type[BaseModel], tree: _Tree) -> ConfigProblem:
    path = _real_path(error["loc"], tree.data)
    rule, remedy = _words(error, path, model)
    value = _shown(path, tree.written(path, error["input"]))
    if error["type"] in {"missing", "extra_forbidden"}:
        value = ""
    return ConfigProblem(path_words(path), tree.line_of(path), value, rule, remedy)


def _real_path(loc: tuple[int | str, ...], data: Any) -> Path_:
    """Without what pydantic adds for unions and validators: only steps that the file has, and a missing last one."""
    path: list[str | int] = []
    for at, part in enumerate(loc):
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, dict) and isinstance(part, str) and (part in data or at == len(loc) - 1):
            data = data.get(part)
        else:
            continue
        path.append(part)
    return tuple(path)


def _shown(path: Path_, value: Any) -> str:
    if any(isinstance(part, str) and _SECRET.search(part) for part in path):
        return "(hidden)"
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
        return ""  # the rule names what matters; a whole mapping may hold what must not reach a log
    shown = repr(_ADDRESS.sub(r"\1…", value) if isinstance(value, str) else value)
    return shown if len(shown) <= VALUE_CHARS_MAX else shown[:VALUE_CHARS_MAX] + "…"


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _words(error: ErrorDetails, path: Path_, model: type[BaseModel]) -> tuple[str, str]:
    """Rule and remedy for one of pydantic's errors."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "config_rule":
        return context["rule"], context["remedy"]
    if kind == "extra_forbidden":
        return _unknown_key(path, model)
    if kind == "missing":
        return "is required", _missing_remedy(path, model)
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]} is expected", _type_remedy(kind, error["input"])
    if kind in {"enum", "literal_error"}:
        known = str(context.get("expected", "")).replace("'", "")
        return f"is none of: {known}", _nearest(str(error["input"]), re.split(r", | or ", known), "use one of these")
    if kind in {"greater_than_equal", "less_than_equal", "greater_than", "less_than"}:
        limit = next(iter(context.values()), "?")
        sign = {"greater_than_equal": "at least", "less_than_equal": "at most"}.get(kind, kind.replace("_", " "))
        return f"must be {sign} {limit}", "change it"
    if kind in {"too_short", "too_long"}:
        few = kind == "too_short"
        limit = context.get("min_length" if few else "max_length", "?")
        return f"must have at {'least' if few else 'most'} {limit}", "add one" if few else "remove some"
    if kind == "string_pattern_mismatch":
        return f"must have the form {context.get('pattern', '?')}", _form_remedy(path, model)
    return error["msg"][:1].lower() + error["msg"][1:], "change it"


def _type_remedy(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, bool):
        return "YAML reads on, off, yes and no as true or false: put it in quotes"
    if kind == "string_type" and isinstance(value, int | float):
        return "put it in quotes"
    if kind in {"int_type", "float_type"} and isinstance(value, str):
        return "write the number without quotes and without a unit"
    return "change it"


def _model_at(path: Path_, model: type[BaseModel]) -> type[BaseModel] | None:
    """The model whose field the last step of the path is."""
    hint: Any = model
    for part in path[:-1]:
        if isinstance(part, str) and isinstance(hint, type) and issubclass(hint, BaseModel):
            field = hint.model_fields.get(part)
            hint = None if field is None else field.annotation
            hint = _inner_model(hint)
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def _inner_model(hint: Any) -> Any:
    """The model inside of a list, an option or a mapping of models."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint
    for inner in typing.get_args(hint):
        found = _inner_model(inner)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None


def _unknown_key(path: Path_, model: type[BaseModel]) -> tuple[str, str]:
    owner = _model_at(path, model)
    known = [] if owner is None else sorted(owner.model_fields)
    return "unknown key", _nearest(str(path[-1]), known, f"known are: {', '.join(known)}" if known else "remove it")


def _nearest(word: str, known: list[str], otherwise: str) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else otherwise


def _missing_remedy(path: Path_, model: type[BaseModel]) -> str:
    require(len(path) > 0, "a missing field has a name")
    field, examples = _field_at(path, model)
    if examples:
        return f"add it, for example `{path[-1]}: {_example(examples[0])}`"
    return "add it" if field is None or not field.description else f"add it: {field.description}"


def _form_remedy(path: Path_, model: type[BaseModel]) -> str:
    named = max((at for at, part in enumerate(path) if isinstance(part, str)), default=-1)
    _, examples = _field_at(path[: named + 1], model)
    example = examples[0][0] if examples and isinstance(examples[0], list) else next(iter(examples), None)
    return "change it" if example is None else f"write for example {_example(example)}"


def _field_at(path: Path_, model: type[BaseModel]) -> tuple[FieldInfo | None, list[Any]]:
    """The field that the path ends with, and its examples."""
    owner = _model_at(path, model) if path else None
    field = None if owner is None else owner.model_fields.get(str(path[-1]))
    return field, (field.examples or []) if field is not None else []


def _example(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def problems_from(error: BadValue, path: str, line: int | None = None) -> ConfigProblem:
    """A BadValue of the core that concerns one place of a file."""
    return ConfigProblem(path, line, _shown((path,), error.value), error.rule, error.remedy)


def render_mapping(values: Mapping[str, Any]) -> str:
    """YAML in the order given, for what the tools write back to people."""
    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
    return text
