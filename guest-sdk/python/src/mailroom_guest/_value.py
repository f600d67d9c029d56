"""A parameter or field of SQL."""

from typing import TypeAlias

Value: TypeAlias = None | bool | int | float | str | bytes
