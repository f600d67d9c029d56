"""Small durable values by name. Writes commit with the call, and are dropped where it does not complete.

``keyed`` belongs to this handler and the message's key: calls of one key never race for it. ``shared`` belongs to this
handler: a call that loses a race is run again at no cost in attempts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

from mailroom_guest import _data
from mailroom_guest._errors import StateError
from mailroom_guest._host import host

Scope: TypeAlias = Literal["keyed", "shared"]

__all__ = ["State", "StateError", "keyed", "shared"]

_PAGE_NAMES = 1000


class State:
    """Values of one scope. All methods raise :class:`StateError`."""

    def __init__(self, scope: Scope) -> None:
        self._scope: Final = scope

    def get(self, name: str, default: Any = None) -> Any:
        """Gives the JSON value, or ``default`` where there is none."""
        value = self.get_bytes(name)
        if value is None:
            return default
        try:
            return json.loads(value)
        except ValueError as error:
            raise StateError("not-json", name) from error

    def set(self, name: str, value: Any) -> None:
        """Sets a value to JSON."""
        self.set_bytes(name, _data.to_json(value).encode())

    def get_bytes(self, name: str) -> bytes | None:
        """Gives the value as it is stored, or None where there is none."""
        return host.state_get(self._scope, _data.text(name, "a name in state"))

    def set_bytes(self, name: str, value: bytes) -> None:
        """Sets a value to bytes."""
        binary = _data.binary(value, f"the value of `{name}`")
        host.state_set(self._scope, _data.text(name, "a name in state"), binary)

    def remove(self, name: str) -> None:
        """Removes a value. One that is not there is no error."""
        host.state_remove(self._scope, _data.text(name, "a name in state"))

    def names(self, prefix: str = "") -> Iterator[str]:
        """Gives the names that begin with a prefix, in byte order."""
        prefix = _data.text(prefix, "a prefix")
        after = None
        while True:
            page = host.state_names(self._scope, prefix, after, _PAGE_NAMES)
            yield from page
            if len(page) < _PAGE_NAMES:
                return
            after = page[-1]


keyed: Final = State("keyed")
shared: Final = State("shared")
