from mailroom_guest import Message, Reject, Subscription, handler, publish, state


@handler(Subscription(topics=["orders"], event_types=["order.placed"]))
def handle(message: Message) -> None:
    order = message.json()
    if order["amount_cents"] < 0:
        raise Reject("the amount is negative")
    total = state.keyed.get("total_cents", 0) + order["amount_cents"]
    state.keyed.set("total_cents", total)
    publish(
        "totals",
        "total.changed",
        key=message.key,
        json={"customer": order["customer"], "total_cents": total},
    )
