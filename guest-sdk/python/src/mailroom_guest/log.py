"""Lines of the host's log, up to the level of ``grants.log``; others are dropped.

What a handler prints is kept as the call's last output besides.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from mailroom_guest import _data
from mailroom_guest._host import host

Level: TypeAlias = Literal["trace", "debug", "info", "warn", "error", "critical"]


def line(level: Level, text: object, context: str = "") -> None:
    """Logs a line. The context is any word by which lines belong together."""
    host.log(level, _data.text(str(context), "the context"), _data.text(str(text), "the line"))


def trace(text: object, context: str = "") -> None:
    line("trace", text, context)


def debug(text: object, context: str = "") -> None:
    line("debug", text, context)


def info(text: object, context: str = "") -> None:
    line("info", text, context)


def warn(text: object, context: str = "") -> None:
    line("warn", text, context)


def error(text: object, context: str = "") -> None:
    line("error", text, context)


def critical(text: object, context: str = "") -> None:
    line("critical", text, context)
