"""Settings as people read and write them: a line per field with its description, its default, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from seodang.core.config import Config, toml_text
from seodang.core.language import say, translated

DECIDED_BY_DATA = frozenset(
    {"in_features", "in_channels", "image_size", "vocab_size", "max_len", "num_classes", "out_features", "num_actions"}
)
"""Settings of models that the facts of the data fill in."""


class Setting(NamedTuple):
    """One field of a config."""

    name: str
    default: Any
    about: str
    allowed: str


def settings_of(config: type[Config], values: Mapping[str, Any] | None = None) -> Iterator[Setting]:
    """Yield the fields of a config, with the defaults of a preset (`values`) before those of the class."""
    properties = config.model_json_schema()["properties"]
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        about = translated(field.description or "")
        yield Setting(name, (values or {}).get(name, default), about, allowed(properties.get(name, {})))


def allowed(schema: Mapping[str, Any]) -> str:
    """Return what a field takes, in a few words, from its JSON schema."""
    if options := schema.get("anyOf"):
        return say(" or ").join(dict.fromkeys(text for item in options if (text := allowed(item))))
    if "const" in schema:
        return _value(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_value, schema["enum"]))
    words = {
        "integer": say("whole number"),
        "number": say("number"),
        "string": say("text"),
        "boolean": say("true or false"),
        "array": say("list"),
        "object": say("table"),
    }
    limits = [("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤")]
    bounds = [f"{sign} {schema[key]:g}" for key, sign in limits if key in schema]
    return " ".join([words.get(schema.get("type", ""), ""), ", ".join(bounds)]).strip()


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, Config):
        return toml_value(value.values())
    return toml_text({"value": value}).partition("= ")[2].strip()


def toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _value(value: Any) -> str:
    return "" if value is None else toml_value(value)
