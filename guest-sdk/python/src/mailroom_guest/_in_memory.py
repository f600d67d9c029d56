"""The host of tests: all is asked of the test host whose call is running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from mailroom_guest._http import Request, Response
from mailroom_guest._message import Message, Subscription
from mailroom_guest._outgoing import Outgoing
from mailroom_guest._value import Value


class Host(Protocol):
    def publish(self, message: Outgoing) -> str: ...
    def state_get(self, scope: str, name: str) -> bytes | None: ...
    def state_set(self, scope: str, name: str, value: bytes) -> None: ...
    def state_remove(self, scope: str, name: str) -> None: ...
    def state_names(self, scope: str, prefix: str, after: str | None, limit: int) -> list[str]: ...
    def query(self, statement: str, params: list[Value]) -> tuple[list[str], list[list[Value]]]: ...
    def execute(self, statement: str, params: list[Value]) -> int: ...
    def config_get(self, key: str) -> str | None: ...
    def config_all(self) -> dict[str, str]: ...
    def log(self, level: str, context: str, text: str) -> None: ...
    def exchange(self, request: Request) -> Response: ...


_current: Host | None = None


@contextmanager
def answering(host: Host) -> Iterator[None]:
    """Makes a host answer for the time of a call."""
    global _current
    if _current is not None:
        raise RuntimeError("one test host's call is running already")
    _current = host
    try:
        yield
    finally:
        _current = None


def _host() -> Host:
    if _current is None:
        raise RuntimeError("the host was asked outside of a handler's call: use TestHost of mailroom_guest.testing")
    return _current


def component(handle: Callable[[Message], None], subscriptions: tuple[Subscription, ...]) -> type:
    return type("Handler", (), {})


def publish(message: Outgoing) -> str:
    return _host().publish(message)


def state_get(scope: str, name: str) -> bytes | None:
    return _host().state_get(scope, name)


def state_set(scope: str, name: str, value: bytes) -> None:
    _host().state_set(scope, name, value)


def state_remove(scope: str, name: str) -> None:
    _host().state_remove(scope, name)


def state_names(scope: str, prefix: str, after: str | None, limit: int) -> list[str]:
    return _host().state_names(scope, prefix, after, limit)


def query(statement: str, params: list[Value]) -> tuple[list[str], list[list[Value]]]:
    return _host().query(statement, params)


def execute(statement: str, params: list[Value]) -> int:
    return _host().execute(statement, params)


def config_get(key: str) -> str | None:
    return _host().config_get(key)


def config_all() -> dict[str, str]:
    return _host().config_all()


def log(level: str, context: str, text: str) -> None:
    _host().log(level, context, text)


def exchange(request: Request) -> Response:
    return _host().exchange(request)
