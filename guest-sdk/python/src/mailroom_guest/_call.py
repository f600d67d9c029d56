"""One call of a handler, from its message to its end."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from mailroom_guest._data import text
from mailroom_guest._message import Message
from mailroom_guest._stop import Fail, Stop


def end_of(handle: Callable[[Message], None], message: Message) -> Stop | None:
    """Calls a handler; None where it completed."""
    try:
        handle(message)
    except Stop as stop:
        return stop
    # A `sys.exit` too must not end the instance.
    except BaseException as error:
        words = str(error) or type(error).__name__
        lines = traceback.format_exception(type(error), error, error.__traceback__ and error.__traceback__.tb_next)
        return Fail(text(words, "the message"), detail=text("".join(lines), "the detail").rstrip())
    return None
