from typing import Any

import pytest

from mailroom_guest import Dispatcher, Message, Reject, Skip, Stop, Subscription, handler
from mailroom_guest._pattern import is_version, matches
from mailroom_guest.testing import TestHost, message

dispatcher = Dispatcher()
seen: list[tuple[str, Any, str | None]] = []


@dispatcher.upcast("order.placed", "1", "2")
def cents(order: dict[str, Any]) -> dict[str, Any]:
    return {"amount_cents": order["amount"] * 100}


@dispatcher.upcast("order.placed", "2", "3")
def in_euros(order: dict[str, Any]) -> dict[str, Any]:
    return {**order, "currency": "EUR"}


@dispatcher.on("order.placed", schema_version="3")
def placed(taken: Message) -> None:
    seen.append(("placed", taken.json(), taken.schema_version))


@dispatcher.on("order.cancelled", source="shop.*")
def cancelled(taken: Message) -> None:
    seen.append(("cancelled", taken.json(), taken.schema_version))


@dispatcher.on("order.*", source="audit")
def audited(taken: Message) -> None:
    seen.append(("any", taken.json(), taken.schema_version))


@handler(dispatcher.subscription(["orders"]))
def handle(taken: Message) -> None:
    dispatcher.handle(taken)


def dispatched(taken: Message) -> Stop | tuple[str, Any, str | None] | None:
    seen.clear()
    end = TestHost().invoke(handle, taken).end
    return seen[0] if seen else end


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("order.placed", "order.placed", True),
        ("order.placed", "order", False),
        ("order", "order.placed", False),
        ("order.*", "order.placed", True),
        ("order.*", "order.placed.late", False),
        ("*.placed", "order.placed", True),
        ("order.**", "order.placed.late", True),
        ("order.**", "order", True),
        ("**", "anything.at.all", True),
        ("**.placed", "a.placed", False),
        ("ord*", "order", False),
    ],
)
def test_names_match_by_segments_as_the_hosts_subscriptions_do(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_versions_match_by_prefix_of_segments() -> None:
    assert [is_version("1", "1.2.3"), is_version("1.2", "1"), is_version("1", "10"), is_version("1", "1")] == [
        True,
        False,
        False,
        True,
    ]


def test_an_old_version_is_brought_to_the_newest() -> None:
    newest = {"amount_cents": 1250, "currency": "EUR"}
    for version, payload, seen_as in (
        ("1.4", {"amount": 12.5}, "3"),
        ("2", {"amount_cents": 1250}, "3"),
        ("3.1", newest, "3.1"),
    ):
        taken = message(payload, event_type="order.placed", schema_version=version)
        assert dispatched(taken) == ("placed", newest, seen_as)


def test_a_message_without_a_version_counts_as_the_newest() -> None:
    assert dispatched(message({"a": 1}, event_type="order.placed")) == ("placed", {"a": 1}, None)


def test_an_old_version_that_is_no_json_is_rejected() -> None:
    assert isinstance(dispatched(message("{oops", event_type="order.placed", schema_version="1")), Reject)


def test_the_first_match_is_called_by_type_and_source() -> None:
    assert dispatched(message({}, event_type="order.cancelled", source="shop.north")) == ("cancelled", {}, None)
    assert dispatched(message({}, event_type="order.cancelled", source="audit")) == ("any", {}, None)


def test_a_message_without_a_match_is_skipped_with_a_reason() -> None:
    end = dispatched(message({}, event_type="order.placed", schema_version="4"))
    assert isinstance(end, Skip)
    assert end.reason == "no route for order.placed from orders in version 4"


def test_a_subscription_follows_from_the_table() -> None:
    taken = Subscription(["orders"], event_types=["order.placed", "order.cancelled", "order.*"])
    assert handle.subscriptions == (taken,)
    assert TestHost.takes(handle, message(event_type="order.placed"))
    assert not TestHost.takes(handle, message(event_type="parcel.sent"))
    assert not TestHost.takes(handle, message(event_type="order.placed", topic="parcels"))


def test_a_chain_that_would_never_end_is_refused() -> None:
    with pytest.raises(ValueError, match="would never end"):
        dispatcher.upcast("a", "1", "1.1")


def test_a_chain_that_returns_to_a_version_ends() -> None:
    circle = Dispatcher()
    circle.upcast("a", "1", "2")(lambda value: value + 1)
    circle.upcast("a", "2", "1")(lambda value: value + 1)
    found: list[Any] = []
    circle.on("a")(lambda taken: found.append((taken.json(), taken.schema_version)))

    circle.handle(message("0", event_type="a", schema_version="1"))

    assert found == [(2, "1")]
