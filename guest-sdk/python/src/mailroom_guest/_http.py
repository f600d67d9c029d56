"""A request and its response, as the host takes and gives them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request as it reaches the host."""

    method: str
    url: str
    scheme: str
    authority: str
    path: str
    headers: list[tuple[str, bytes]]
    body: bytes
    timeout_ms: int | None
    body_bytes_max: int


@dataclass(frozen=True)
class Response:
    """A response, with all of its body."""

    status: int
    headers: list[tuple[str, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Gives the first header of this name, where it is text."""
        for header, value in self.headers:
            if header.lower() == name.lower():
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    return None
        return None

    def text(self) -> str:
        """Gives the body as text; what is not UTF-8 is replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Reads the body as JSON. Raises ``ValueError`` where it is not."""
        return json.loads(self.body)
