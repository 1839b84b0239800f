"""Config: a frozen, closed, self-documenting record, and the strict TOML it is read from.

The docstring under a field is its description in ``--help``, in ``seodang show`` and in the manual.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from seodang.core.errors import ConfigError, nearest
from seodang.core.files import write
from seodang.core.language import say
from seodang.core.strict import MAX_BYTES, MAX_DEPTH, Refused, parse_toml, regular_size


class Config(BaseModel):
    """A record that cannot be changed and takes no unknown field. Make another with `replace`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Return the record for `values`; every wrong setting is named in one `ConfigError`."""
        try:
            return cls.model_validate(frozen(values))
        except ValidationError as error:
            raise ConfigError("{reasons}", reasons=_explain(error, cls, where)) from None

    @classmethod
    def fields(cls) -> list[str]:
        return list(cls.model_fields)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`, validated like a new record."""
        return type(self).of({**self.values(), **changes})

    def values(self) -> dict[str, Any]:
        """Return the settings as plain values: what TOML and JSON can hold."""
        return self.model_dump(mode="python")

    def written(self) -> dict[str, Any]:
        """Return only the settings somebody set; defaults are left out."""
        return self.model_dump(mode="python", exclude_unset=True)


def frozen(value: Any) -> Any:
    """Turn lists into tuples, all the way down: records are immutable."""
    if isinstance(value, Mapping):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    return value


def _explain(error: ValidationError, cls: type[Config], where: str) -> str:
    lines = []
    for item in error.errors():
        path = ".".join([where, *map(str, item["loc"])] if where else map(str, item["loc"]))
        kind, value, context = item["type"], item.get("input"), item.get("ctx", {})
        if kind == "extra_forbidden":
            known = _fields_at(cls, item["loc"][:-1])
            lines.append(
                say("{path}: is not a setting here.", path=path)
                + (
                    nearest(str(item["loc"][-1]), known)
                    or (" " + say("Settings: {names}.", names=", ".join(known)) if known else "")
                )
            )
        elif kind == "missing":
            lines.append(say("{path}: is missing.", path=path))
        else:
            reason = _range(kind, context, item["msg"])
            together = kind == "value_error" and isinstance(value, Mapping)  # which settings, the reason says
            reason += "." if together else " " + say("(got {value}).", value=repr(value))
            lines.append(f"{path}: {reason}" if path else reason)
    return "\n".join(lines)


def _range(kind: str, context: Mapping[str, Any], message: str) -> str:
    match kind:
        case "greater_than":
            return say("should be greater than {limit}", limit=context["gt"])
        case "greater_than_equal":
            return say("should be {limit} or more", limit=context["ge"])
        case "less_than":
            return say("should be less than {limit}", limit=context["lt"])
        case "less_than_equal":
            return say("should be {limit} or less", limit=context["le"])
        case "literal_error":
            return say("should be {allowed}", allowed=context["expected"])
        case "int_type" | "int_from_float":
            return say("should be a whole number")
        case "float_type" | "finite_number":
            return say("should be a finite number")
        case "bool_type":
            return say("should be true or false")
        case "string_type":
            return say("should be a text")
        case "value_error":
            return str(context["error"])
    return message[:1].lower() + message[1:]


def _fields_at(cls: type[Config], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = cls.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, Config)):
            return []
        cls = field.annotation
    return cls.fields()


# ---------------------------------------------------------------------------------------------- TOML


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file strictly (see `strict`); a `ConfigError` names the line."""
    try:
        size = regular_size(path)
        if size > MAX_BYTES:
            raise ConfigError("{path}: is larger than 1 MB ({size} bytes); is this a recipe?", path=path, size=size)
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from None
    try:
        return parse_toml(data)
    except Refused as error:
        raise ConfigError("{path}: {reason}.", path=path, reason=error) from None


def toml_text(values: Mapping[str, Any]) -> str:
    """Return `values` as TOML; ``None`` means "not set" and is left out."""
    return tomli_w.dumps(_without_none(values))


def write_toml(path: Path, values: Mapping[str, Any], header: str = "") -> None:
    write(path, (header + toml_text(values)).encode())


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


# ----------------------------------------------------------------------------------------- overrides


HALF_WRITTEN = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?")
"""Numbers as people type them and TOML does not know them: .1 and 1."""


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split ``train.steps=200`` into its path and value; the value is read as TOML, else as text."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys) or len(keys) > MAX_DEPTH:
        raise ConfigError("'{text}': a setting is written section.key=value, for example train.steps=200.", text=text)
    try:
        values = parse_toml(f"value = {value}")
    except Refused:
        value = value.strip()
        return keys, float(value) if HALF_WRITTEN.fullmatch(value) else value
    return keys, values["value"] if len(values) == 1 else value.strip()


def override(values: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set ``values[keys[0]][keys[1]]… = value`` in place, making the tables on the way."""
    for depth, key in enumerate(keys[:-1]):
        if not isinstance(values.setdefault(key, {}), dict):
            raise ConfigError("{path}: is a value, not a section.", path=".".join(keys[: depth + 1]))
        values = values[key]
    values[keys[-1]] = value
