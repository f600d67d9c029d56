"""A request over ``wasi:http``, from its parts to the last byte of its response."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from componentize_py_types import Err, Ok
from wit_world.imports import monotonic_clock, outgoing_handler, poll, streams
from wit_world.imports import wasi_http_types as wire

from mailroom_guest._errors import HttpError
from mailroom_guest._http import Request, Response

T = TypeVar("T")

_READ_BYTES_MAX = 64 << 10
_U64_MAX = 2**64 - 1


def exchange(request: Request) -> Response:
    # A resource must outlive those that were made from it: the last is dropped first.
    with ExitStack() as resources:
        timer = None
        if request.timeout_ms is not None:
            nanoseconds = min(request.timeout_ms * 1_000_000, _U64_MAX)
            timer = resources.enter_context(monotonic_clock.subscribe_duration(nanoseconds))
        outgoing = _outgoing(request)
        body = outgoing.body() if request.body else None
        answer = resources.enter_context(_attempt(request, lambda: outgoing_handler.handle(outgoing, None)))
        if body is not None:
            _send(body, request, timer)
        while (got := answer.get()) is None:
            _wait(answer, timer, request)
        match got:
            case Ok(Ok(response)):
                return _read(resources.enter_context(response), request, timer, resources)
            case Ok(Err(code)):
                raise _failed(request, code)
        raise HttpError("failed", request.authority, reason="its answer was taken before")


def _outgoing(request: Request) -> Any:
    def invalid(what: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except Err as error:
            kind = "" if error.value is None else f": {_name(error.value)}"
            raise HttpError("invalid", request.url, reason=what + kind) from None

    fields = invalid("its headers are none", lambda: wire.Fields.from_list(request.headers))
    outgoing = wire.OutgoingRequest(fields)
    known = getattr(wire, f"Method_{request.method.capitalize()}", None) if request.method.isupper() else None
    method = wire.Method_Other(request.method) if known in (None, wire.Method_Other) else known()
    scheme = wire.Scheme_Https() if request.scheme == "https" else wire.Scheme_Http()
    invalid("its method is none", lambda: outgoing.set_method(method))
    invalid("its scheme is none", lambda: outgoing.set_scheme(scheme))
    invalid("its host is none", lambda: outgoing.set_authority(request.authority))
    invalid("its path is none", lambda: outgoing.set_path_with_query(request.path))
    return outgoing


def _send(body: Any, request: Request, timer: Any) -> None:
    """Sends the body. A server may answer before it has read all of it: what it does not take is no error."""
    rest = request.body
    try:
        with body.write() as stream:
            while rest:
                room = stream.check_write()
                if room == 0:
                    _wait(stream, timer, request)
                else:
                    stream.write(rest[:room])
                    rest = rest[room:]
    except Err:
        return
    _attempt(request, lambda: wire.OutgoingBody.finish(body, None))


def _read(response: Any, request: Request, timer: Any, resources: ExitStack) -> Response:
    status = response.status()
    with response.headers() as fields:
        headers = fields.entries()
    incoming = resources.enter_context(response.consume())
    stream = resources.enter_context(incoming.stream())
    body = bytearray()
    while True:
        try:
            chunk = stream.read(_READ_BYTES_MAX)
        except Err as error:
            if isinstance(error.value, streams.StreamError_Closed):
                return Response(status, headers, bytes(body))
            code = wire.http_error_code(error.value.value)
            raise _failed(request, code or wire.ErrorCode_HttpResponseIncomplete()) from None
        if not chunk:
            _wait(stream, timer, request)
        body += chunk
        if len(body) > request.body_bytes_max:
            raise HttpError("too-large", request.authority, limit=request.body_bytes_max)


def _wait(on: Any, timer: Any, request: Request) -> None:
    with on.subscribe() as ready:
        if timer is None:
            ready.block()
            return
        poll.poll([ready, timer])
        if timer.ready() and not ready.ready():
            raise HttpError("timeout", request.authority)


def _attempt(request: Request, call: Callable[[], T]) -> T:
    try:
        return call()
    except Err as error:
        raise _failed(request, error.value) from None


def _failed(request: Request, code: Any) -> HttpError:
    match code:
        case wire.ErrorCode_HttpRequestDenied():
            return HttpError("denied", request.authority)
        case wire.ErrorCode_DestinationIpProhibited():
            return HttpError("address-denied", request.authority)
        case (
            wire.ErrorCode_ConnectionReadTimeout()
            | wire.ErrorCode_ConnectionTimeout()
            | wire.ErrorCode_HttpResponseTimeout()
        ):
            return HttpError("timeout", request.authority)
        case wire.ErrorCode_InternalError(str(reason)):
            return HttpError("failed", request.authority, reason=reason)
    value = getattr(code, "value", None)
    return HttpError("failed", request.authority, reason=_name(code) + ("" if value is None else f" {value}"))


def _name(variant: object) -> str:
    return type(variant).__name__.partition("_")[2]
