"""The host of a component: what it imports, by the bindings that componentize-py makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from componentize_py_types import Err
from wit_world.imports import logging, outbox, sql, state, wasi_config_store
from wit_world.imports import mailroom_contract_types as wire

from mailroom_guest._call import end_of
from mailroom_guest._data import Data
from mailroom_guest._errors import ConfigError, PublishError, SqlError, StateError
from mailroom_guest._exchange import exchange
from mailroom_guest._message import Message, Subscription
from mailroom_guest._outgoing import Outgoing
from mailroom_guest._stop import Fail, Reject, Retry, Skip
from mailroom_guest._value import Value

__all__ = ["exchange"]

_SCOPES = {"keyed": state.Scope.KEYED, "shared": state.Scope.SHARED}


def component(handle: Callable[[Message], None], subscriptions: tuple[Subscription, ...]) -> type:
    class Handler:
        def subscriptions(self) -> list[Any]:
            return [
                wire.Subscription(
                    taken.topics,
                    taken.event_types,
                    taken.sources,
                    taken.schema_versions,
                    wire.Form.TEXT if taken.form == "text" else wire.Form.BINARY,
                )
                for taken in subscriptions
            ]

        def handle(self, message: Any) -> Any:
            end = end_of(handle, _message(message))
            match end:
                case None:
                    return wire.Outcome_Completed()
                case Retry():
                    return wire.Outcome_Retry(wire.Retry(end.reason, end.after_ms, end.counts))
                case Skip():
                    return wire.Outcome_Skipped(end.reason)
                case Reject():
                    return wire.Outcome_Rejected(end.reason)
                case Fail():
                    raise Err(wire.Failure(end.message, end.code, end.detail))

    return Handler


def _message(message: Any) -> Message:
    return Message(
        id=message.id,
        message_id=message.message_id,
        event_type=message.event_type,
        source=message.source,
        schema_version=message.schema_version,
        topic=message.position.topic,
        partition=message.position.partition,
        offset=message.position.offset,
        key=_from_data(message.key),
        payload=_from_data(message.payload),
        content_type=message.content_type,
        headers=[(header.name, _from_data(header.value)) for header in message.headers],
        produced_at_ms=message.produced_at_ms,
        correlation_id=message.correlation_id,
        causation_id=message.causation_id,
        traceparent=message.traceparent,
        attempt=message.attempt,
        max_attempts=message.max_attempts,
        delivery=message.delivery,
    )


def _from_data(data: Any) -> Data | None:
    return None if data is None else data.value


def _to_data(data: Data | None) -> Any:
    if data is None:
        return None
    return wire.Data_Text(data) if isinstance(data, str) else wire.Data_Binary(data)


def publish(message: Outgoing) -> str:
    try:
        return outbox.publish(
            outbox.Outgoing(
                message.topic,
                message.event_type,
                _to_data(message.key),
                _to_data(message.payload),
                message.content_type,
                [wire.Header(name, _to_data(value)) for name, value in message.headers],
                message.schema_version,
                message.idempotency_key,
                message.delay_ms,
            )
        )
    except Err as error:
        raise _publish_error(error.value, message.topic) from None


def _publish_error(error: Any, topic: str) -> PublishError:
    match error:
        case outbox.PublishError_NotGranted():
            return PublishError("not-granted", topic)
        case outbox.PublishError_TooLarge(limit):
            return PublishError("too-large", topic, limit=limit)
        case outbox.PublishError_TooMany(limit):
            return PublishError("too-many", topic, limit=limit)
    return PublishError("invalid", topic, reason=error.value)


def state_get(scope: str, name: str) -> bytes | None:
    try:
        return state.get(_SCOPES[scope], name)
    except Err as error:
        raise _state_error(error.value, name) from None


def state_set(scope: str, name: str, value: bytes) -> None:
    try:
        state.set(_SCOPES[scope], name, value)
    except Err as error:
        raise _state_error(error.value, name) from None


def state_remove(scope: str, name: str) -> None:
    try:
        state.remove(_SCOPES[scope], name)
    except Err as error:
        raise _state_error(error.value, name) from None


def state_names(scope: str, prefix: str, after: str | None, limit: int) -> list[str]:
    try:
        return state.names(_SCOPES[scope], prefix, after, limit)
    except Err as error:
        raise _state_error(error.value, prefix) from None


def _state_error(error: Any, name: str) -> StateError:
    match error:
        case state.StateError_NotGranted():
            return StateError("not-granted", name)
        case state.StateError_NoKey():
            return StateError("no-key", name)
        case state.StateError_TooLarge(limit):
            return StateError("too-large", name, limit=limit)
        case state.StateError_TooMany(limit):
            return StateError("too-many", name, limit=limit)
    return StateError("invalid-name", name, reason=error.value)


def query(statement: str, params: list[Value]) -> tuple[list[str], list[list[Value]]]:
    try:
        table = sql.query(statement, [_to_value(value) for value in params])
    except Err as error:
        raise SqlError(error.value.sqlstate, error.value.message) from None
    return table.columns, [[getattr(value, "value", None) for value in row] for row in table.rows]


def execute(statement: str, params: list[Value]) -> int:
    try:
        return sql.execute(statement, [_to_value(value) for value in params])
    except Err as error:
        raise SqlError(error.value.sqlstate, error.value.message) from None


def _to_value(value: Value) -> Any:
    match value:
        case None:
            return sql.Value_Null()
        case bool():
            return sql.Value_Boolean(value)
        case int():
            return sql.Value_Integer(value)
        case float():
            return sql.Value_Float(value)
        case str():
            return sql.Value_Text(value)
        case bytes():
            return sql.Value_Bytes(value)


def config_get(key: str) -> str | None:
    try:
        return wasi_config_store.get(key)
    except Err as error:
        raise ConfigError(error.value.value) from None


def config_all() -> dict[str, str]:
    try:
        return dict(wasi_config_store.get_all())
    except Err as error:
        raise ConfigError(error.value.value) from None


def log(level: str, context: str, text: str) -> None:
    logging.log(logging.Level[level.upper()], context, text)
