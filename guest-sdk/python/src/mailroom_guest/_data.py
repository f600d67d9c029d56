"""Text and bytes, on their way to the host."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

Data: TypeAlias = str | bytes
"""Text where the bytes are valid UTF-8, else bytes."""

Delay: TypeAlias = timedelta | float
"""A duration, or its seconds."""

V = TypeVar("V")

_U64_MAX = 2**64 - 1


def text(value: str, what: str) -> str:
    """Gives text that is Unicode: the host takes no half of a surrogate pair."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def optional_text(value: str | None, what: str) -> str | None:
    return None if value is None else text(value, what)


def binary(value: bytes | bytearray | memoryview, what: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{what} must be bytes, not {type(value).__name__}")
    return bytes(value)


def data(value: Data, what: str) -> Data:
    if isinstance(value, str):
        return text(value, what)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{what} must be a str or bytes, not {type(value).__name__}")


def optional_data(value: Data | None, what: str) -> Data | None:
    return None if value is None else data(value, what)


def to_json(value: Any) -> str:
    return text(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")), "JSON")


def pairs(headers: Mapping[str, V] | Iterable[tuple[str, V]]) -> list[tuple[str, V]]:
    items: Iterable[tuple[str, V]] = headers.items() if isinstance(headers, Mapping) else headers
    return [(text(name, "a header's name"), value) for name, value in items]


def milliseconds(delay: Delay | None, what: str) -> int | None:
    """Gives whole milliseconds; longer than the contract can say is as good as never."""
    if delay is None:
        return None
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(f"{what} must be a timedelta or seconds, 0 or more")
    return _U64_MAX if seconds > _U64_MAX / 1000 else round(seconds * 1000)
