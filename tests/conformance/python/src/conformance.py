"""Does by event type what the suite of all SDKs expects."""

import hashlib
from base64 import b64encode
from typing import Any

from mailroom_guest import (
    ConfigError,
    Data,
    Dispatcher,
    Fail,
    HttpError,
    Message,
    PublishError,
    Reject,
    Retry,
    Skip,
    SqlError,
    StateError,
    Subscription,
    config,
    handler,
    http,
    log,
    publish,
    sql,
    state,
)

RESULTS = "conformance-results"
RESULT = "conformance.result"

dispatcher = Dispatcher()
on = dispatcher.on


@handler(Subscription(["conformance"], event_types=["conformance.**", "order.**"], form="binary"))
def handle(message: Message) -> None:
    dispatcher.handle(message)


def answer(message: Message, value: Any) -> None:
    publish(RESULTS, RESULT, key=message.key, json=value)


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def shown(data: Data | None) -> dict[str, str] | None:
    if data is None:
        return None
    return {"text": data} if isinstance(data, str) else {"base64": base64(data)}


@on("conformance.echo")
def echo(message: Message) -> None:
    answer(
        message,
        {
            "id": message.id,
            "message_id": message.message_id,
            "event_type": message.event_type,
            "source": message.source,
            "schema_version": message.schema_version,
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
            "key": shown(message.key),
            "payload": shown(message.payload),
            "content_type": message.content_type,
            "headers": [[name, shown(value)] for name, value in message.headers],
            "produced_at_ms": message.produced_at_ms,
            "correlation_id": message.correlation_id,
            "causation_id": message.causation_id,
            "traceparent": message.traceparent,
            "attempt": message.attempt,
            "max_attempts": message.max_attempts,
            "delivery": message.delivery,
        },
    )


@on("conformance.size")
def size(message: Message) -> None:
    payload = message.binary() or b""
    answer(message, {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()})


@on("conformance.json")
def typed_json(message: Message) -> None:
    def order(value: Any) -> dict[str, Any]:
        order_id, amount_cents = value["order_id"], value["amount_cents"]
        if not isinstance(order_id, str):
            raise TypeError("order_id must be text")
        if not isinstance(amount_cents, int) or isinstance(amount_cents, bool):
            raise TypeError("amount_cents must be an integer")
        return {"order_id": order_id, "amount_cents": amount_cents}

    answer(message, message.json(order))


@on("conformance.completed")
def completed(message: Message) -> None:
    pass


@on("conformance.retry-after")
def retry_after(message: Message) -> None:
    after_ms = message.json()["after_ms"]
    if message.attempt == 1:
        raise Retry("later", after=after_ms / 1000)
    answer(message, {"attempt": message.attempt, "delivery": message.delivery})


@on("conformance.uncounted")
def uncounted(message: Message) -> None:
    if message.delivery <= 2:
        raise Retry("not yet", after=0.05, uncounted=True)
    answer(message, {"attempt": message.attempt, "delivery": message.delivery})


@on("conformance.skipped")
def skipped(message: Message) -> None:
    raise Skip("nothing to do")


@on("conformance.rejected")
def rejected(message: Message) -> None:
    raise Reject("never")


@on("conformance.failed")
def failed(message: Message) -> None:
    raise Fail("the bank refused", code="bank-refused", detail="account 7")


def deep_in_the_stack() -> None:
    raise RuntimeError("boom 😀")


@on("conformance.uncaught")
def uncaught(message: Message) -> None:
    deep_in_the_stack()


@on("conformance.published-then-failed")
def published_then_failed(message: Message) -> None:
    answer(message, {"never": True})
    state.keyed.set("never", True)
    raise Fail("after effects")


@on("conformance.publish")
def publish_all(message: Message) -> None:
    delay_ms = message.json()["delay_ms"]
    publish(
        RESULTS,
        RESULT,
        text="hello 😀",
        key="k😀",
        headers=[("a", "1"), ("a", None), ("b", b"\xff\x00")],
        content_type="text/plain",
        schema_version="2.1",
    )
    publish(RESULTS, RESULT, binary=b"\x00\xff")
    publish(RESULTS, RESULT, tombstone=True)
    publish(RESULTS, RESULT, json={"delayed": True}, delay=delay_ms / 1000)
    once = [publish(RESULTS, RESULT, json={"once": True}, idempotency_key=f"once-{message.id}") for _ in range(2)]
    answer(message, {"same_id": once[0] == once[1]})


@on("conformance.publish-denied")
def publish_denied(message: Message) -> None:
    try:
        publish("elsewhere", RESULT, json={})
    except PublishError as error:
        answer(message, {"error": error.kind, "topic": error.topic})


@on("conformance.publish-invalid")
def publish_invalid(message: Message) -> None:
    try:
        publish("", RESULT, json={})
    except PublishError as error:
        answer(message, {"error": error.kind, "words": str(error)})


@on("conformance.state")
def all_of_state(message: Message) -> None:
    keyed = state.keyed
    keyed.set("a", {"n": 1})
    keyed.set_bytes("b", b"\x00\xff")
    for name in ("c/1", "c/2", "c/3"):
        keyed.set(name, name)
    keyed.remove("b")
    answer(message, {"a": keyed.get("a"), "b": keyed.get("b"), "names": list(keyed.names("c/"))})


@on("conformance.state-kept")
def state_kept(message: Message) -> None:
    answer(message, {"a": state.keyed.get("a")})


@on("conformance.state-invalid")
def state_invalid(message: Message) -> None:
    try:
        state.keyed.set("", 1)
    except StateError as error:
        answer(message, {"error": error.kind})


@on("conformance.state-no-key")
def state_no_key(message: Message) -> None:
    try:
        state.keyed.set("a", 1)
    except StateError as error:
        answer(message, {"error": error.kind})


@on("conformance.shared")
def shared(message: Message) -> None:
    state.shared.set("count", state.shared.get("count", 0) + 1)


@on("conformance.shared-read")
def shared_read(message: Message) -> None:
    answer(message, {"count": state.shared.get("count", 0)})


@on("conformance.sql")
def all_of_sql(message: Message) -> None:
    table = sql.query(
        "select $1::boolean, $2::bigint, $3::float8, $4::text, $5::bytea, null::text",
        [True, 9007199254740993, 1.5, "ü😀", b"\x00\xff"],
    )
    flag, integer, number, text, binary, none = table.rows[0]
    assert isinstance(binary, bytes)
    row = [flag, str(integer), number, text, base64(binary), none]
    answer(message, {"columns": len(table.columns), "row": row})
    answer(message, {"inserted": sql.execute("insert into conformance (id) values ($1)", [message.id])})


@on("conformance.sql-error")
def sql_error(message: Message) -> None:
    try:
        sql.query("select 1/0")
    except SqlError as error:
        raise Fail(str(error), code=error.sqlstate) from error


@on("conformance.config")
def all_of_config(message: Message) -> None:
    greeting = config.get("GREETING")
    try:
        config.get("ABSENT")
    except ConfigError as error:
        answer(message, {"greeting": greeting, "absent": str(error)})


@on("conformance.log")
def all_of_log(message: Message) -> None:
    for line in (log.trace, log.debug, log.info, log.warn, log.error, log.critical):
        line(f"a line at {line.__name__.upper()} 😀", "conformance")
    print("printed 😀")


@on("conformance.http")
def all_of_http(message: Message) -> None:
    try:
        response = http.post(message.json()["url"], headers={"x-conformance": "yes"}, body="ping 😀")
    except HttpError as error:
        answer(message, {"error": str(error)})
    else:
        answer(message, {"status": response.status, "body": response.text()})


@on("conformance.spin")
def spin(message: Message) -> None:
    while True:
        pass


@on("conformance.allocate")
def allocate(message: Message) -> None:
    everything = []
    while True:
        everything.append(bytearray(1 << 20))


@dispatcher.upcast("order.placed", "1", "2")
def cents(order: dict[str, Any]) -> dict[str, Any]:
    return {"amount_cents": round(order["amount"] * 100)}


@dispatcher.upcast("order.placed", "2", "3")
def in_euros(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "currency": "EUR"}


@on("order.placed", schema_version="3")
def order_placed(message: Message) -> None:
    answer(message, message.json())


@on("order.cancelled", source="shop.*")
def order_cancelled(message: Message) -> None:
    answer(message, {"cancelled_by": message.source})
