"""A function as the handler of a component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from mailroom_guest._host import host
from mailroom_guest._message import Message, Subscription


class HandleFunction(Protocol):
    """A function decorated with :func:`handler`."""

    subscriptions: tuple[Subscription, ...]

    def __call__(self, message: Message, /) -> None: ...


F = TypeVar("F", bound=Callable[[Message], None])


def handler(*subscriptions: Subscription) -> Callable[[F], HandleFunction]:
    """Makes the decorated function the handler of the component, once in a module.

    It handles one delivery of a message, in a new instance unless the manifest says otherwise. Returning completes the
    message; raising a :class:`Stop` ends it otherwise; any other exception is a failure with its words as message and
    its traceback as detail. The subscriptions are asked for when the component is loaded, and `[subscribe]` in the
    manifest overrides them. The module gets the name ``Handler``, for which componentize-py looks.
    """

    def decorate(function: F) -> HandleFunction:
        module = function.__globals__
        if "Handler" in module:
            raise TypeError(f"the module {function.__module__} has a Handler already")
        module["Handler"] = host.component(function, subscriptions)
        handle = cast(HandleFunction, function)
        handle.subscriptions = subscriptions
        return handle

    return decorate
