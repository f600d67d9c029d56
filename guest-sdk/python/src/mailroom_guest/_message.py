"""Messages as they come, and which of them a handler takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, overload

from mailroom_guest._data import Data, text, to_json
from mailroom_guest._stop import Reject

T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """One delivery of a message. All but ``attempt`` and ``delivery`` is the same on every delivery."""

    id: str
    """A UUID, stable across retries and replay: derive new ids from it, never from the clock or from chance."""
    message_id: str
    """The producer's id, or the record's place in the log."""
    event_type: str
    source: str
    """Logical sender: the ``source`` header, else the topic."""
    schema_version: str | None
    topic: str
    partition: int
    offset: int
    key: Data | None
    """None: no order, and no keyed state."""
    payload: Data | None
    """None is a tombstone; an empty payload is empty."""
    content_type: str | None
    headers: list[tuple[str, Data | None]]
    """Names may repeat, values may be None; in order."""
    produced_at_ms: int
    """Milliseconds since 1970, from the Kafka record."""
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    attempt: int
    """From 1; raised by calls that count against the budget."""
    max_attempts: int
    delivery: int
    """From 1."""

    @overload
    def json(self) -> Any: ...

    @overload
    def json(self, parse: Callable[[Any], T]) -> T: ...

    def json(self, parse: Callable[[Any], Any] | None = None) -> Any:
        """Reads the payload as JSON. ``parse`` checks or converts it.

        Raises :class:`Reject` where there is no payload, it is not JSON, or ``parse`` raises: trying again could not
        mend it.
        """
        if self.payload is None:
            raise Reject(f"message `{self.message_id}` has no payload")
        try:
            value = json.loads(self.payload)
            return value if parse is None else parse(value)
        except Exception as error:
            words = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
            raise Reject(
                f"the payload of message `{self.message_id}` is not the JSON that this handler expects: {words}"
            ) from error

    def text(self) -> str | None:
        """Gives the payload as text; None for a tombstone. Raises :class:`Reject` where it is not UTF-8."""
        return self._text(self.payload, "payload")

    def binary(self) -> bytes | None:
        """Gives the payload as bytes; None for a tombstone."""
        return self.payload.encode() if isinstance(self.payload, str) else self.payload

    def key_text(self) -> str | None:
        """Gives the key as text. Raises :class:`Reject` where it is not UTF-8."""
        return self._text(self.key, "key")

    def key_binary(self) -> bytes | None:
        """Gives the key as bytes."""
        return self.key.encode() if isinstance(self.key, str) else self.key

    def header(self, name: str, default: Data | None = None) -> Data | None:
        """Gives the value of the last header of this name, or ``default`` where there is none."""
        values = self.headers_named(name)
        return values[-1] if values else default

    def headers_named(self, name: str) -> list[Data | None]:
        """Gives the values of all headers of this name, in order."""
        return [value for header, value in self.headers if header == name]

    def with_json(self, value: Any, schema_version: str | None) -> Message:
        """Gives a copy with this payload and schema version."""
        return replace(self, payload=to_json(value), schema_version=schema_version)

    def _text(self, data: Data | None, what: str) -> str | None:
        if not isinstance(data, bytes):
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Reject(f"the {what} of message `{self.message_id}` is not UTF-8") from error


def _any() -> list[str]:
    return []


@dataclass(frozen=True)
class Subscription:
    """Which messages a handler takes. An empty list means any.

    Types and sources are patterns by dot-separated segments: ``*`` is one segment, a last ``**`` is the rest.
    Versions are prefixes of segments: ``1`` takes ``1.2.3``. With the form ``text`` a payload that is not UTF-8 is
    quarantined before the handler is called.
    """

    topics: Iterable[str]
    event_types: Iterable[str] = field(default_factory=_any)
    sources: Iterable[str] = field(default_factory=_any)
    schema_versions: Iterable[str] = field(default_factory=_any)
    form: Literal["text", "binary"] = "text"

    def __post_init__(self) -> None:
        for name in ("topics", "event_types", "sources", "schema_versions"):
            value = getattr(self, name)
            # The letters of a text would be taken for texts.
            if isinstance(value, str):
                raise TypeError(f"{name} must be a list of str, not a str")
            object.__setattr__(self, name, [text(item, name) for item in value])
        if self.form not in ("text", "binary"):
            raise ValueError(f"form must be 'text' or 'binary', not {self.form!r}")
