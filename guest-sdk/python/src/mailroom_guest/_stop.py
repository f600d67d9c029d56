"""Ends of a call other than "completed": raise one of them, and its effects are dropped."""

from __future__ import annotations

from mailroom_guest._data import Delay, milliseconds, optional_text, text


class Stop(Exception):
    """Any of the four."""


class Retry(Stop):
    """Asks for the message again, after a delay instead of the handler's backoff where one is given.

    ``uncounted`` costs no attempt; the host bounds how long this can go on.
    """

    def __init__(self, reason: str, *, after: Delay | None = None, uncounted: bool = False) -> None:
        super().__init__(reason)
        self.reason = text(reason, "the reason")
        self.after_ms = milliseconds(after, "after")
        self.counts = not uncounted


class Skip(Stop):
    """Completes the message without effects, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = text(reason, "the reason")


class Reject(Stop):
    """Makes the message a dead letter at once: it can never succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = text(reason, "the reason")


class Fail(Stop):
    """Fails the call: it counts, and the message comes again until its attempts are used up.

    ``code`` is a stable name by which dead letters are grouped, such as ``out-of-stock``.
    """

    def __init__(self, message: str, *, code: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = text(message, "the message")
        self.code = optional_text(code, "the code")
        self.detail = optional_text(detail, "the detail")
