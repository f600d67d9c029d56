"""Functions by event type, source and schema version."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from mailroom_guest._message import Message, Subscription
from mailroom_guest._pattern import is_version, matches
from mailroom_guest._stop import Skip

F = TypeVar("F", bound=Callable[[Message], None])
U = TypeVar("U", bound=Callable[[Any], Any])


@dataclass(frozen=True)
class _Route:
    event_type: str
    source: str
    schema_version: str | None
    handle: Callable[[Message], None]

    def takes(self, message: Message) -> bool:
        return (
            matches(self.event_type, message.event_type)
            and matches(self.source, message.source)
            and (
                self.schema_version is None
                or message.schema_version is None
                or is_version(self.schema_version, message.schema_version)
            )
        )


@dataclass(frozen=True)
class _Upcast:
    event_type: str
    from_version: str
    to_version: str
    change: Callable[[Any], Any]


class Dispatcher:
    """Calls the first function whose event type, source and schema version match a message.

    Payloads of old schema versions are brought to the newest before, so that the function sees it.
    """

    def __init__(self) -> None:
        self._routes: list[_Route] = []
        self._upcasts: list[_Upcast] = []

    def on(self, event_type: str, *, source: str = "**", schema_version: str | None = None) -> Callable[[F], F]:
        """Adds the decorated function.

        Types and sources are patterns, as of :class:`Subscription`, and versions are prefixes of segments. A message
        without a version counts as the newest.
        """

        def add(handle: F) -> F:
            self._routes.append(_Route(event_type, source, schema_version, handle))
            return handle

        return add

    def upcast(self, event_type: str, from_version: str, to_version: str) -> Callable[[U], U]:
        """Adds the decorated function: it changes a JSON payload of one schema version to the next."""
        if is_version(from_version, to_version):
            raise ValueError(f"the upcast of {event_type} from {from_version} to {to_version} would never end")

        def add(change: U) -> U:
            self._upcasts.append(_Upcast(event_type, from_version, to_version, change))
            return change

        return add

    def handle(self, message: Message) -> None:
        """Calls the function of the first match. Raises :class:`Skip` where there is none."""
        message = self._newest(message)
        for route in self._routes:
            if route.takes(message):
                route.handle(message)
                return
        version = "" if message.schema_version is None else f" in version {message.schema_version}"
        raise Skip(f"no route for {message.event_type} from {message.source}{version}")

    def subscription(self, topics: Iterable[str], *, form: Literal["text", "binary"] = "text") -> Subscription:
        """Gives a subscription to these topics with the event types of all functions."""
        return Subscription(topics, event_types=dict.fromkeys(route.event_type for route in self._routes), form=form)

    def _newest(self, message: Message) -> Message:
        # Each step once: a chain that returned to a version would never end.
        steps = list(self._upcasts)
        while message.schema_version is not None:
            for step in steps:
                if matches(step.event_type, message.event_type) and is_version(
                    step.from_version, message.schema_version
                ):
                    break
            else:
                break
            steps.remove(step)
            message = message.with_json(step.change(message.json()), step.to_version)
        return message
