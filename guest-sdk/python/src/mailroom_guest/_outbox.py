"""Messages that a handler emits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from mailroom_guest import _data
from mailroom_guest._data import Data, Delay
from mailroom_guest._errors import PublishError
from mailroom_guest._host import host
from mailroom_guest._outgoing import Outgoing

Headers: TypeAlias = Mapping[str, Data | None] | Iterable[tuple[str, Data | None]]

__all__ = ["PublishError", "publish"]

_ABSENT: Final[Any] = object()


def publish(
    topic: str,
    event_type: str,
    *,
    json: Any = _ABSENT,
    text: str = _ABSENT,
    binary: bytes = _ABSENT,
    tombstone: Literal[True] = _ABSENT,
    key: Data | None = None,
    headers: Headers = (),
    content_type: str | None = None,
    schema_version: str | None = None,
    idempotency_key: str | None = None,
    delay: Delay | None = None,
) -> str:
    """Publishes a message with the call's commit and returns its id, the same on every delivery of the message handled.

    One of ``json``, ``text``, ``binary`` and ``tombstone`` is given. Messages of one topic and key keep their order. A
    ``delay`` counts from the commit. An ``idempotency_key`` already used gives the first message's id and emits
    nothing. Raises :class:`PublishError` where the host does not take it.
    """
    if sum(value is not _ABSENT for value in (json, text, binary, tombstone)) != 1:
        raise TypeError("a message to publish has one of json, text, binary and tombstone")
    payload: Data | None = None
    if json is not _ABSENT:
        payload = _data.to_json(json)
        content_type = content_type or "application/json"
    elif text is not _ABSENT:
        payload = _data.text(text, "the payload")
    elif binary is not _ABSENT:
        payload = _data.binary(binary, "the payload")
    elif tombstone is not True:
        raise TypeError("tombstone must be True where it is given")
    return host.publish(
        Outgoing(
            topic=_data.text(topic, "the topic"),
            event_type=_data.text(event_type, "the event type"),
            key=_data.optional_data(key, "the key"),
            payload=payload,
            content_type=_data.optional_text(content_type, "the content type"),
            headers=[
                (name, _data.optional_data(value, f"the header {name}")) for name, value in _data.pairs(headers)
            ],
            schema_version=_data.optional_text(schema_version, "the schema version"),
            idempotency_key=_data.optional_text(idempotency_key, "the idempotency key"),
            delay_ms=_data.milliseconds(delay, "delay"),
        )
    )
