"""A host in memory, for tests of handlers without a component."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailroom_guest import _data
from mailroom_guest._call import end_of
from mailroom_guest._data import Data
from mailroom_guest._errors import ConfigError, HttpError, PublishError, SqlError, StateError
from mailroom_guest._handler import HandleFunction
from mailroom_guest._http import Request, Response
from mailroom_guest._in_memory import answering
from mailroom_guest._message import Message
from mailroom_guest._outgoing import Outgoing
from mailroom_guest._pattern import is_version, matches
from mailroom_guest._stop import Stop
from mailroom_guest._value import Value

__all__ = ["Call", "LogLine", "Published", "TestHost", "message"]

Query = Callable[[str, list[Value]], tuple[list[str], list[list[Value]]]]
Execute = Callable[[str, list[Value]], int]
_Values = dict[str, bytes]


def message(
    payload: Any = "",
    *,
    event_type: str = "",
    key: Data | None = None,
    topic: str = "orders",
    partition: int = 0,
    offset: int = 0,
    id: str = "00000000-0000-7000-8000-000000000001",
    message_id: str | None = None,
    source: str | None = None,
    schema_version: str | None = None,
    content_type: str | None = None,
    headers: Iterable[tuple[str, Data | None]] = (),
    produced_at_ms: int = 0,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    traceparent: str | None = None,
    attempt: int = 1,
    max_attempts: int = 6,
    delivery: int | None = None,
) -> Message:
    """Makes a message. A payload that is no text and no bytes is sent as JSON; None is a tombstone."""
    if payload is not None and not isinstance(payload, (str, bytes)):
        payload = _data.to_json(payload)
    return Message(
        id=id,
        message_id=f"{topic}:{partition}:{offset}" if message_id is None else message_id,
        event_type=event_type,
        source=topic if source is None else source,
        schema_version=schema_version,
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        payload=payload,
        content_type=content_type,
        headers=list(headers),
        produced_at_ms=produced_at_ms,
        correlation_id=correlation_id,
        causation_id=causation_id,
        traceparent=traceparent,
        attempt=attempt,
        max_attempts=max_attempts,
        delivery=attempt if delivery is None else delivery,
    )


@dataclass(frozen=True)
class Published(Outgoing):
    """A message that a handler published."""

    id: str

    def json(self) -> Any:
        """Reads the payload as JSON."""
        return json.loads(self.payload or "")


@dataclass(frozen=True)
class LogLine:
    """A line that a handler logged."""

    level: str
    context: str
    text: str


@dataclass
class Call:
    """What a call did."""

    end: Stop | None = None
    """None where the call completed; an uncaught exception is a :class:`mailroom_guest.Fail`."""
    published: list[Published] = field(default_factory=list)
    """Empty unless the call completed."""
    log: list[LogLine] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


class TestHost:
    """A host that keeps state from call to call. Everything is granted unless it is said otherwise.

    ``query`` and ``execute`` answer SQL, and may raise :class:`mailroom_guest.SqlError`. ``http`` answers requests;
    without it they are denied.
    """

    __test__ = False  # It is no test itself, whatever pytest takes its name for.

    def __init__(
        self,
        *,
        keyed: Mapping[Data, Mapping[str, Any]] | None = None,
        shared: Mapping[str, Any] | None = None,
        publish: Collection[str] | None = None,
        state: bool = True,
        config: Mapping[str, str] | None = None,
        query: Query | None = None,
        execute: Execute | None = None,
        http: Callable[[Request], Response] | None = None,
    ) -> None:
        self._keyed = {key: _stored(values) for key, values in (keyed or {}).items()}
        self._shared = _stored(shared or {})
        self._topics = publish
        self._grants_state = state
        self._config = dict(config or {})
        self._query = query
        self._execute = execute
        self._http = http
        self._used: dict[str, str] = {}
        self._count = 0

    def invoke(self, handle: Callable[[Message], None], message: Message) -> Call:
        """Calls a handler once. Its effects are kept where it completes."""
        answers = _Answers(self, message.key)
        with answering(answers):
            answers.call.end = end_of(handle, message)
        if answers.call.end is not None:
            answers.call.published.clear()
        else:
            if message.key is not None and answers.keyed is not None:
                self._keyed[message.key] = answers.keyed
            self._shared = answers.shared
            self._used = answers.used
        return answers.call

    def keyed(self, key: Data) -> dict[str, Any]:
        """Gives the state of a key, read as JSON where it is."""
        return _plain(self._keyed.get(key, {}))

    def shared(self) -> dict[str, Any]:
        """Gives the shared state, read as JSON where it is."""
        return _plain(self._shared)

    @staticmethod
    def takes(handle: HandleFunction, message: Message) -> bool:
        """Tells whether one of the handler's subscriptions takes the message."""

        def some(wanted: Iterable[str], takes: Callable[[str], bool]) -> bool:
            items = list(wanted)
            return not items or any(takes(item) for item in items)

        return any(
            some(taken.topics, lambda topic: topic == message.topic)
            and some(taken.event_types, lambda pattern: matches(pattern, message.event_type))
            and some(taken.sources, lambda pattern: matches(pattern, message.source))
            and some(
                taken.schema_versions,
                lambda prefix: message.schema_version is not None and is_version(prefix, message.schema_version),
            )
            for taken in handle.subscriptions
        )


class _Answers:
    """The host of one call, whose effects are not kept yet."""

    def __init__(self, host: TestHost, key: Data | None) -> None:
        self.host = host
        self.keyed = None if key is None else dict(host._keyed.get(key, {}))
        self.shared = dict(host._shared)
        self.used = dict(host._used)
        self.call = Call()

    def publish(self, message: Outgoing) -> str:
        if self.host._topics is not None and message.topic not in self.host._topics:
            raise PublishError("not-granted", message.topic)
        if not message.topic:
            raise PublishError("invalid", message.topic, reason="the topic is empty")
        if message.idempotency_key in self.used:
            return self.used[message.idempotency_key]
        self.host._count += 1
        id = f"00000000-0000-7000-9000-{self.host._count:012}"
        if message.idempotency_key is not None:
            self.used[message.idempotency_key] = id
        self.call.published.append(Published(**vars(message), id=id))
        return id

    def _values(self, scope: str, name: str) -> _Values:
        if not self.host._grants_state:
            raise StateError("not-granted", name)
        values = self.keyed if scope == "keyed" else self.shared
        if values is None:
            raise StateError("no-key", name)
        return values

    def _named(self, scope: str, name: str) -> _Values:
        values = self._values(scope, name)
        if not 1 <= len(name.encode()) <= 255 or "\0" in name:
            raise StateError("invalid-name", name, reason="a name has 1 to 255 bytes without U+0000")
        return values

    def state_get(self, scope: str, name: str) -> bytes | None:
        return self._named(scope, name).get(name)

    def state_set(self, scope: str, name: str, value: bytes) -> None:
        self._named(scope, name)[name] = value

    def state_remove(self, scope: str, name: str) -> None:
        self._named(scope, name).pop(name, None)

    def state_names(self, scope: str, prefix: str, after: str | None, limit: int) -> list[str]:
        names = sorted((name for name in self._values(scope, prefix) if name.startswith(prefix)), key=str.encode)
        return [name for name in names if after is None or name.encode() > after.encode()][:limit]

    def query(self, statement: str, params: list[Value]) -> tuple[list[str], list[list[Value]]]:
        if self.host._query is None:
            raise SqlError("42501", "the test host has no answer to SQL")
        return self.host._query(statement, params)

    def execute(self, statement: str, params: list[Value]) -> int:
        if self.host._execute is None:
            raise SqlError("42501", "the test host has no answer to SQL")
        return self.host._execute(statement, params)

    def config_get(self, key: str) -> str | None:
        if key not in self.host._config:
            raise ConfigError(f"the handler may not read the configuration key {key}")
        return self.host._config[key]

    def config_all(self) -> dict[str, str]:
        return dict(self.host._config)

    def log(self, level: str, context: str, text: str) -> None:
        self.call.log.append(LogLine(level, context, text))

    def exchange(self, request: Request) -> Response:
        self.call.requests.append(request)
        if self.host._http is None:
            raise HttpError("denied", request.authority)
        return self.host._http(request)


def _stored(values: Mapping[str, Any]) -> _Values:
    return {
        name: value if isinstance(value, bytes) else _data.to_json(value).encode() for name, value in values.items()
    }


def _plain(values: _Values) -> dict[str, Any]:
    def read(value: bytes) -> Any:
        try:
            return json.loads(value)
        except ValueError:
            return value

    return {name: read(value) for name, value in values.items()}
