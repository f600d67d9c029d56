"""SQL in the message's own transaction, as the role of ``grants.sql``.

One SELECT, INSERT, UPDATE, DELETE or MERGE at a time. After an error the call can no longer complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex

from mailroom_guest import _data
from mailroom_guest._errors import SqlError
from mailroom_guest._host import host
from mailroom_guest._value import Value

__all__ = ["Row", "SqlError", "Table", "Value", "execute", "query"]

_INTEGERS = range(-(2**63), 2**63)


class Row(tuple[Value, ...]):
    """A row, by position as a tuple and by the column's name."""

    _columns: list[str]

    def __new__(cls, columns: list[str], values: Iterable[Value]) -> Row:
        row = super().__new__(cls, values)
        row._columns = columns
        return row

    def __getitem__(self, index: SupportsIndex | slice | str) -> Any:
        if not isinstance(index, str):
            return super().__getitem__(index)
        try:
            return super().__getitem__(self._columns.index(index))
        except ValueError:
            raise KeyError(index) from None

    def as_dict(self) -> dict[str, Value]:
        """Gives the fields by name; of columns with one name the last counts."""
        return dict(zip(self._columns, self, strict=True))


@dataclass(frozen=True)
class Table:
    """What a query gave."""

    columns: list[str]
    rows: list[Row]


def query(statement: str, params: Iterable[Value] = ()) -> Table:
    """Runs a statement and gives its rows.

    Values other than those of :data:`Value` are sent as text and cast in the statement (``$1::uuid``), and columns
    likewise (``id::text``). Raises :class:`SqlError`.
    """
    columns, rows = host.query(_data.text(statement, "the statement"), _checked(params))
    return Table(columns, [Row(columns, row) for row in rows])


def execute(statement: str, params: Iterable[Value] = ()) -> int:
    """Runs a statement and gives the number of rows that it wrote. Raises :class:`SqlError`."""
    return host.execute(_data.text(statement, "the statement"), _checked(params))


def _checked(params: Iterable[Value]) -> list[Value]:
    values: list[Value] = []
    for number, value in enumerate(params, 1):
        if isinstance(value, str):
            value = _data.text(value, f"parameter ${number}")
        elif isinstance(value, (bytearray, memoryview)):
            value = bytes(value)
        elif value is not None and not isinstance(value, (bool, int, float, bytes)):
            raise TypeError(f"parameter ${number} is a {type(value).__name__}: send it as text and cast it")
        elif isinstance(value, int) and value not in _INTEGERS:
            raise OverflowError(f"parameter ${number} has more than 64 bits: send it as text and cast it")
        values.append(value)
    return values
