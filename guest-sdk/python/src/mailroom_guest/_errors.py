"""What the host refuses, as exceptions."""

from __future__ import annotations

from typing import Literal, TypeAlias


class PublishError(Exception):
    """The host did not take a message. Nothing was emitted, and the call may go on."""

    Kind: TypeAlias = Literal["not-granted", "too-large", "too-many", "invalid"]

    def __init__(self, kind: Kind, topic: str, *, limit: int | None = None, reason: str | None = None) -> None:
        super().__init__(
            {
                "not-granted": f"this handler may not publish to `{topic}`: "
                "add it to `publish` under `[grants]` in its manifest",
                "too-large": f"the message for `{topic}` is larger than the {limit} bytes that are allowed",
                "too-many": f"the message for `{topic}` is one more than the {limit} that a call may emit",
                "invalid": f"the message for `{topic}` cannot be published: {reason}",
            }[kind]
        )
        self.kind = kind
        self.topic = topic
        self.limit = limit
        """Bytes of ``too-large``, messages of ``too-many``."""
        self.reason = reason
        """What is wrong with a message that is ``invalid``."""


class StateError(Exception):
    """State could not be read or written."""

    Kind: TypeAlias = Literal["not-granted", "no-key", "invalid-name", "too-large", "too-many", "not-json"]

    def __init__(self, kind: Kind, name: str, *, limit: int | None = None, reason: str | None = None) -> None:
        super().__init__(
            {
                "not-granted": "this handler may not use state: say `state = true` under `[grants]` in its manifest",
                "no-key": f"`{name}` is keyed state, and this message has no key: "
                "use `state.shared` or produce with a key",
                "invalid-name": f"`{name}` cannot be a name in state: {reason}",
                "too-large": f"the value of `{name}` is larger than the {limit} bytes that are allowed",
                "too-many": f"`{name}` is one more than the {limit} names that are allowed",
                "not-json": f"the value of `{name}` is not JSON",
            }[kind]
        )
        self.kind = kind
        self.name = name
        self.limit = limit
        """Bytes of ``too-large``, names of ``too-many``."""
        self.reason = reason
        """What is wrong with a name that is ``invalid-name``."""


class SqlError(Exception):
    """A statement failed. ``sqlstate`` has five characters, such as ``23505``."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class ConfigError(Exception):
    """A value could not be read."""


class HttpError(Exception):
    """There is no response. Unless it was denied, the request may have arrived.

    ``target`` is the host with its port, or the URL of a request that is ``invalid``.
    """

    Kind: TypeAlias = Literal["invalid", "denied", "address-denied", "timeout", "too-large", "failed"]

    def __init__(self, kind: Kind, target: str, *, limit: int | None = None, reason: str | None = None) -> None:
        super().__init__(
            {
                "invalid": f"the request to `{target}` cannot be sent: {reason}",
                "denied": f"this handler may not send requests to `{target}`: "
                "add it to `http` under `[grants]` in its manifest",
                "address-denied": f"`{target}` has an address that is not public: "
                "the operator may allow it in `http.addresses`",
                "timeout": f"`{target}` did not answer in time",
                "too-large": f"the response of `{target}` has more than {limit} bytes",
                "failed": f"the request to `{target}` failed: {reason}",
            }[kind]
        )
        self.kind = kind
        self.target = target
        self.limit = limit
        self.reason = reason
