from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn

import pytest

from mailroom_guest import (
    ConfigError,
    Data,
    Fail,
    HttpError,
    Message,
    PublishError,
    Reject,
    Retry,
    Skip,
    SqlError,
    StateError,
    Stop,
    Subscription,
    config,
    handler,
    http,
    log,
    publish,
    sql,
    state,
)
from mailroom_guest.http import Response
from mailroom_guest.testing import Call, LogLine, TestHost, message


def completed(handle: Callable[[Message], Any], taken: Message | None = None, host: TestHost | None = None) -> Call:
    """Gives what a call did that had to complete."""
    call = (host or TestHost()).invoke(handle, taken or message())
    assert call.end is None, call.end
    return call


@pytest.mark.parametrize(
    ("stop", "fields"),
    [
        (Retry("busy"), {"reason": "busy", "after_ms": None, "counts": True}),
        (Retry("busy", after=0.05, uncounted=True), {"reason": "busy", "after_ms": 50, "counts": False}),
        (Retry("busy", after=0.029), {"reason": "busy", "after_ms": 29, "counts": True}),
        (Retry("busy", after=timedelta(minutes=1)), {"reason": "busy", "after_ms": 60_000, "counts": True}),
        (Retry("busy", after=float("inf")), {"reason": "busy", "after_ms": 2**64 - 1, "counts": True}),
        (Skip("a test"), {"reason": "a test"}),
        (Reject("never"), {"reason": "never"}),
        (Fail("no", code="c", detail="d"), {"message": "no", "code": "c", "detail": "d"}),
    ],
)
def test_every_end_of_a_call_is_as_it_was_raised(stop: Stop, fields: dict[str, Any]) -> None:
    def handle(_: Message) -> None:
        raise stop

    end = TestHost().invoke(handle, message()).end

    assert end is stop
    assert vars(end) == fields


def test_a_delay_is_no_less_than_nothing() -> None:
    for after in (-1, float("nan"), True):
        with pytest.raises(ValueError, match="after must be a timedelta or seconds, 0 or more"):
            Retry("busy", after=after)


def test_an_uncaught_exception_is_a_failure_with_its_words_and_its_traceback() -> None:
    def deep_in_the_stack() -> NoReturn:
        try:
            raise KeyError("why")
        except KeyError as error:
            raise RuntimeError("boom 😀") from error

    end = TestHost().invoke(lambda _: deep_in_the_stack(), message()).end

    assert isinstance(end, Fail)
    assert (end.message, end.code) == ("boom 😀", None)
    assert end.detail is not None
    assert "KeyError: 'why'" in end.detail
    assert "in deep_in_the_stack" in end.detail
    assert end.detail.endswith("RuntimeError: boom 😀")
    assert "_call.py" not in end.detail


def test_whatever_is_raised_is_a_failure() -> None:
    for error, words in ((SystemExit(3), "3"), (ValueError(), "ValueError"), (RuntimeError("\ud800"), "\ufffd")):

        def handle(_: Message, error: BaseException = error) -> None:
            raise error

        end = TestHost().invoke(handle, message()).end
        assert isinstance(end, Fail)
        assert end.message == words


def test_effects_of_a_call_that_does_not_complete_are_dropped() -> None:
    host = TestHost()

    def handle(_: Message) -> None:
        publish("t", "e", json={})
        state.keyed.set("a", 1)
        state.shared.set("a", 1)
        raise Fail("after effects")

    call = host.invoke(handle, message(key="ada"))

    assert (call.published, host.keyed("ada"), host.shared()) == ([], {}, {})


def test_a_payload_is_read_as_json_as_text_and_as_bytes() -> None:
    for payload in ('{"a":"ü"}', '{"a":"ü"}'.encode()):
        taken = message(payload)
        assert (taken.json(), taken.text(), taken.binary()) == ({"a": "ü"}, '{"a":"ü"}', '{"a":"ü"}'.encode())


def test_a_tombstone_is_not_an_empty_payload() -> None:
    assert (message(None).text(), message(None).binary()) == (None, None)
    assert (message("").text(), message("").binary()) == ("", b"")


@dataclass
class Order:
    customer: str


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "message `orders:0:0` has no payload"),
        ("{oops", "is not the JSON that this handler expects: Expecting property name enclosed in double quotes"),
        (b"\xff", "is not the JSON that this handler expects: "),
        ("{}", "missing 1 required positional argument: 'customer'"),
        ("7", "argument after ** must be a mapping, not int"),
    ],
)
def test_what_is_not_the_expected_json_is_rejected(payload: Data | None, reason: str) -> None:
    end = TestHost().invoke(lambda taken: print(taken.json(lambda order: Order(**order))), message(payload)).end

    assert isinstance(end, Reject)
    assert reason in end.reason
    assert "`orders:0:0`" in end.reason


def test_json_that_lacks_a_name_is_rejected_with_it() -> None:
    with pytest.raises(Reject, match="KeyError: 'customer'$"):
        message("{}").json(lambda order: order["customer"])


def test_text_that_is_not_utf8_is_rejected() -> None:
    with pytest.raises(Reject, match="the payload of message `orders:0:0` is not UTF-8"):
        message(b"\xff").text()
    with pytest.raises(Reject, match="the key of message `orders:0:0` is not UTF-8"):
        message(key=b"\xff").key_text()
    assert (message(key="ü").key_binary(), message(key=b"a").key_text(), message().key_text()) == (
        "ü".encode(),
        "a",
        None,
    )


def test_of_repeated_headers_the_last_one_counts() -> None:
    taken = message(headers=[("a", "1"), ("a", b"\xff"), ("b", None)])
    assert (taken.header("a"), taken.header("b", "x"), taken.header("c", "x")) == (b"\xff", None, "x")
    assert taken.headers_named("a") == ["1", b"\xff"]


def test_a_message_is_published_with_all_its_fields() -> None:
    def handle(_: Message) -> None:
        publish(
            "t",
            "e",
            text="hello 😀\ud800",
            key=b"\x01",
            headers=[("a", "1"), ("a", None), ("b", b"\xff")],
            content_type="text/plain",
            schema_version="2.1",
            idempotency_key="once",
            delay=timedelta(seconds=1.5),
        )

    (published,) = completed(handle).published

    fields = vars(published).copy()
    assert fields.pop("id")
    assert fields == {
        "topic": "t",
        "event_type": "e",
        "key": b"\x01",
        "payload": "hello 😀\ufffd",
        "content_type": "text/plain",
        "headers": [("a", "1"), ("a", None), ("b", b"\xff")],
        "schema_version": "2.1",
        "idempotency_key": "once",
        "delay_ms": 1500,
    }


def test_json_says_its_content_type_and_a_tombstone_has_no_payload() -> None:
    def handle(_: Message) -> None:
        publish("t", "e", json=None)
        publish("t", "e", json={"a": "ü"}, content_type="application/vnd.a+json")
        publish("t", "e", tombstone=True, headers={"a": "1"})
        publish("t", "e", binary=b"\x00\xff")

    assert [(sent.payload, sent.content_type) for sent in completed(handle).published] == [
        ("null", "application/json"),
        ('{"a":"ü"}', "application/vnd.a+json"),
        (None, None),
        (b"\x00\xff", None),
    ]


def test_an_idempotency_key_already_used_gives_the_first_id() -> None:
    ids: list[str] = []

    def handle(_: Message) -> None:
        ids.extend(publish("t", "e", text="", idempotency_key="once") for _ in range(2))

    assert len(completed(handle).published) == 1
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "one of json, text, binary and tombstone"),
        ({"json": 1, "text": "1"}, "one of json, text, binary and tombstone"),
        ({"text": 7}, "the payload must be a str, not int"),
        ({"json": {1, 2}}, "not JSON serializable"),
        ({"json": float("nan")}, "not JSON compliant"),
        ({"tombstone": False}, "tombstone must be True"),
        ({"text": "", "key": 7}, "the key must be a str or bytes, not int"),
        ({"text": "", "delay": -1}, "delay must be a timedelta or seconds"),
        ({"text": "", "headers": [("a", 7)]}, "the header a must be"),
    ],
)
def test_a_message_of_the_wrong_form_is_a_mistake_of_the_handler(fields: dict[str, Any], words: str) -> None:
    end = TestHost().invoke(lambda _: print(publish("t", "e", **fields)), message()).end
    assert isinstance(end, Fail)
    assert words in end.message


def test_what_the_host_does_not_publish_is_a_typed_error() -> None:
    def denied(_: Message) -> None:
        with pytest.raises(PublishError) as caught:
            publish("elsewhere", "e", text="")
        assert (caught.value.kind, caught.value.topic) == ("not-granted", "elsewhere")
        assert str(caught.value) == (
            "this handler may not publish to `elsewhere`: add it to `publish` under `[grants]` in its manifest"
        )

    def invalid(_: Message) -> None:
        with pytest.raises(PublishError, match="cannot be published: the topic is empty") as caught:
            publish("", "e", text="")
        assert caught.value.kind == "invalid"

    completed(denied, host=TestHost(publish=["t"]))
    completed(invalid)


def test_state_keeps_json_and_bytes_by_name() -> None:
    host = TestHost(shared={"count": 1})

    def handle(_: Message) -> None:
        keyed, shared = state.keyed, state.shared
        keyed.set("a", {"n": 1})
        keyed.set_bytes("b", b"\x00\xff")
        shared.set("count", shared.get("count", 0) + 1)
        assert keyed.get_bytes("b") == b"\x00\xff"
        keyed.remove("b")
        keyed.remove("never")
        assert (keyed.get("a"), keyed.get("b"), keyed.get_bytes("b")) == ({"n": 1}, None, None)

    completed(handle, message(key="ada"), host)

    assert (host.keyed("ada"), host.keyed("bob"), host.shared()) == ({"a": {"n": 1}}, {}, {"count": 2})


def test_names_of_state_come_page_by_page() -> None:
    names = [f"c/{number:04}" for number in range(2001)]
    found: list[str] = []
    host = TestHost(shared={**dict.fromkeys(names, 1), "d": 1})

    completed(lambda _: found.extend(state.shared.names("c/")), host=host)

    assert found == names


def test_what_state_refuses_is_a_typed_error() -> None:
    def kinds(ask: Callable[[], Any], host: TestHost | None = None) -> str:
        def handle(_: Message) -> None:
            with pytest.raises(StateError) as caught:
                ask()
            found.append(caught.value.kind)

        found: list[str] = []
        completed(handle, host=host)
        return found[0]

    assert kinds(lambda: state.keyed.set("a", 1)) == "no-key"
    assert kinds(lambda: state.shared.set("", 1)) == "invalid-name"
    assert kinds(lambda: state.shared.get("a"), TestHost(shared={"a": b"\xff"})) == "not-json"
    assert kinds(lambda: state.shared.get("a"), TestHost(state=False)) == "not-granted"


def test_sql_values_go_and_come_with_their_types() -> None:
    def query(statement: str, params: list[sql.Value]) -> tuple[list[str], list[list[sql.Value]]]:
        assert (statement, params) == ("select", [None, True, 2**62, 1.5, "ü", b"\x01"])
        return ["a", "b", "a"], [[1, 2**62, None]]

    def handle(_: Message) -> None:
        table = sql.query("select", [None, True, 2**62, 1.5, "ü", b"\x01"])
        (row,) = table.rows
        assert table.columns == ["a", "b", "a"]
        assert (tuple(row), row[1], row["b"], row[:2]) == ((1, 2**62, None), 2**62, 2**62, (1, 2**62))
        assert row.as_dict() == {"a": None, "b": 2**62}
        with pytest.raises(KeyError):
            row["c"]

    completed(handle, host=TestHost(query=query))


def test_what_sql_does_not_know_is_a_mistake() -> None:
    def handle(_: Message) -> None:
        with pytest.raises(TypeError, match=r"parameter \$2 is a Decimal: send it as text and cast it"):
            sql.query("select", [1, Decimal(1)])  # type: ignore[list-item]
        with pytest.raises(OverflowError, match=r"parameter \$1 has more than 64 bits"):
            sql.query("select", [2**63])

    completed(handle)


def test_an_error_of_sql_has_its_sqlstate() -> None:
    def execute(statement: str, params: list[sql.Value]) -> int:
        if statement == "insert":
            return 3
        raise SqlError("22012", "division by zero")

    def handle(_: Message) -> None:
        assert sql.execute("insert") == 3
        with pytest.raises(SqlError, match="division by zero") as caught:
            sql.execute("select 1/0")
        assert caught.value.sqlstate == "22012"

    completed(handle, host=TestHost(execute=execute))


def test_configuration_is_read_by_key() -> None:
    def handle(_: Message) -> None:
        assert (config.get("GREETING"), config.all()) == ("hi", {"GREETING": "hi"})
        with pytest.raises(ConfigError, match="ABSENT"):
            config.get("ABSENT")

    completed(handle, host=TestHost(config={"GREETING": "hi"}))


def test_lines_are_logged_with_their_level_and_context() -> None:
    def handle(_: Message) -> None:
        log.info("one")
        log.critical(2, "context")

    assert completed(handle).log == [LogLine("info", "", "one"), LogLine("critical", "context", "2")]


def test_a_request_has_its_parts_and_so_has_its_response() -> None:
    def handle(_: Message) -> None:
        response = http.post("https://a.example/b?c#d", json={"a": 1}, headers={"x-y": "z"}, timeout=2)
        assert (response.status, response.header("Content-Type"), response.json()) == (201, "text/plain", {"b": 2})

    host = TestHost(http=lambda _: Response(201, [("content-type", b"text/plain")], b'{"b":2}'))
    (sent,) = completed(handle, host=host).requests

    assert (sent.method, sent.scheme, sent.authority, sent.path) == ("POST", "https", "a.example", "/b?c")
    assert sent.headers == [("x-y", b"z"), ("content-type", b"application/json"), ("content-length", b"7")]
    assert (sent.body, sent.timeout_ms) == (b'{"a":1}', 2000)


@pytest.mark.parametrize(
    ("method", "url", "kind", "words"),
    [
        ("GET", "ftp://a/", "invalid", "it is no http or https URL$"),
        ("GET", "https:///b", "invalid", "it is no http or https URL$"),
        ("A B", "https://a/", "invalid", "its method is none$"),
        ("GET", "https://a:1/", "denied", "^this handler may not send requests to `a:1`"),
    ],
)
def test_a_request_that_cannot_be_sent_or_is_denied_is_a_typed_error(
    method: str, url: str, kind: str, words: str
) -> None:
    def handle(_: Message) -> None:
        with pytest.raises(HttpError, match=words) as caught:
            http.request(method, url)
        assert caught.value.kind == kind

    completed(handle)


def test_subscriptions_have_defaults_and_what_is_none_is_a_mistake() -> None:
    assert vars(Subscription(["a"], sources=("b",))) == {
        "topics": ["a"],
        "event_types": [],
        "sources": ["b"],
        "schema_versions": [],
        "form": "text",
    }
    with pytest.raises(TypeError, match="topics must be a list of str, not a str"):
        Subscription("orders")
    with pytest.raises(ValueError, match="form must be 'text' or 'binary', not 'json'"):
        Subscription(["a"], form="json")  # type: ignore[arg-type]


def test_a_module_has_one_handler() -> None:
    namespace: dict[str, Any] = {"handler": handler, "__name__": "totals"}
    exec("@handler()\ndef handle(message): pass", namespace)
    assert "Handler" in namespace
    with pytest.raises(TypeError, match="the module totals has a Handler already"):
        exec("@handler()\ndef other(message): pass", namespace)


def test_the_host_is_there_for_a_call_only() -> None:
    with pytest.raises(RuntimeError, match="outside of a handler's call"):
        publish("t", "e", text="")
