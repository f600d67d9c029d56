"""A message to publish, as it reaches the host."""

from __future__ import annotations

from dataclasses import dataclass

from mailroom_guest._data import Data


@dataclass(frozen=True)
class Outgoing:
    topic: str
    event_type: str
    key: Data | None
    payload: Data | None
    content_type: str | None
    headers: list[tuple[str, Data | None]]
    schema_version: str | None
    idempotency_key: str | None
    delay_ms: int | None
