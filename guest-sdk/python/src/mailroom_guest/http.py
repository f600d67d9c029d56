"""Requests to hosts of ``grants.http``.

A request is no part of the transaction: it has happened even where the call does not complete, and is repeated with
the call. Redirects are not followed, and any status is a response.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from mailroom_guest import _data
from mailroom_guest._data import Data, Delay
from mailroom_guest._errors import HttpError
from mailroom_guest._host import host
from mailroom_guest._http import Request, Response

Headers: TypeAlias = Mapping[str, Data] | Iterable[tuple[str, Data]]

__all__ = ["HttpError", "Response", "get", "post", "request"]

_ABSENT: Final[Any] = object()
_BODY_BYTES_MAX = 8 << 20
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URL = re.compile(r"(https?)://([^/?#]+)([^#]*)")


def request(
    method: str,
    url: str,
    *,
    headers: Headers = (),
    body: Data = b"",
    json: Any = _ABSENT,
    timeout: Delay | None = None,
    body_bytes_max: int = _BODY_BYTES_MAX,
) -> Response:
    """Sends a request and reads the whole response.

    ``timeout`` is from the sending to the last byte of the response; the call's deadline by default. Raises
    :class:`HttpError` where there is no response.
    """
    url = _data.text(url, "the URL")
    parts = _URL.fullmatch(url.partition("#")[0])
    if parts is None:
        raise HttpError("invalid", url, reason="it is no http or https URL")
    if not _METHOD.fullmatch(_data.text(method, "the method")):
        raise HttpError("invalid", url, reason="its method is none")
    fields = [(name, _bytes(value, f"the header {name}")) for name, value in _data.pairs(headers)]
    content = _bytes(body, "the body")
    if json is not _ABSENT:
        content = _data.to_json(json).encode()
        fields.append(("content-type", b"application/json"))
    # Without it the body would come in chunks, which not every server takes.
    if content:
        fields.append(("content-length", str(len(content)).encode()))
    scheme, authority, path = parts.groups()
    return host.exchange(
        Request(
            method=method,
            url=url,
            scheme=scheme,
            authority=authority,
            path=path if path.startswith("/") else f"/{path}",
            headers=fields,
            body=content,
            timeout_ms=_data.milliseconds(timeout, "timeout"),
            body_bytes_max=body_bytes_max,
        )
    )


def get(url: str, *, headers: Headers = (), timeout: Delay | None = None) -> Response:
    """Asks for something; see :func:`request`."""
    return request("GET", url, headers=headers, timeout=timeout)


def post(
    url: str, *, headers: Headers = (), body: Data = b"", json: Any = _ABSENT, timeout: Delay | None = None
) -> Response:
    """Sends something; see :func:`request`."""
    return request("POST", url, headers=headers, body=body, json=json, timeout=timeout)


def _bytes(value: Data, what: str) -> bytes:
    checked = _data.data(value, what)
    return checked.encode() if isinstance(checked, str) else checked
