"""Write a mailroom handler in about 20 lines of Python.

A handler takes one message at a time. What it published and stored commits in one Postgres transaction with the
fact that the message is done, or not at all. The end of the call says which: returning completes the message,
:class:`Skip`, :class:`Retry`, :class:`Reject` and :class:`Fail` are raised, and any other exception is a failure.
"""

from mailroom_guest import config, http, log, sql, state
from mailroom_guest._data import Data
from mailroom_guest._dispatcher import Dispatcher
from mailroom_guest._handler import HandleFunction, handler
from mailroom_guest._message import Message, Subscription
from mailroom_guest._outbox import PublishError, publish
from mailroom_guest._stop import Fail, Reject, Retry, Skip, Stop
from mailroom_guest.config import ConfigError
from mailroom_guest.http import HttpError
from mailroom_guest.sql import SqlError
from mailroom_guest.state import StateError

__all__ = [
    "ConfigError",
    "Data",
    "Dispatcher",
    "Fail",
    "HandleFunction",
    "HttpError",
    "Message",
    "PublishError",
    "Reject",
    "Retry",
    "Skip",
    "SqlError",
    "StateError",
    "Stop",
    "Subscription",
    "config",
    "handler",
    "http",
    "log",
    "publish",
    "sql",
    "state",
]
