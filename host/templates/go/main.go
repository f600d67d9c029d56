// A handler that keeps the running total of each customer's orders.
package main

import "mailroom/guest"

type order struct {
	Customer    string `json:"customer"`
	AmountCents int64  `json:"amount_cents"`
}

func handle(call *guest.Call, message *guest.Message) error {
	placed, err := guest.JSON[order](message)
	if err != nil {
		return err
	}
	if placed.AmountCents < 0 {
		return guest.Reject("the amount is negative")
	}
	total, err := guest.Get[int64](call.Keyed(), "total_cents")
	if err != nil {
		return err
	}
	total += placed.AmountCents
	if err := call.Keyed().Set("total_cents", total); err != nil {
		return err
	}
	changed := guest.Outgoing{Topic: "totals", EventType: "total.changed", Key: message.Key}
	_, err = call.PublishJSON(changed, map[string]any{"customer": placed.Customer, "total_cents": total})
	return err
}

var handler = guest.Handler{
	Subscriptions: []guest.Subscription{{Topics: []string{"orders"}, EventTypes: []string{"order.placed"}}},
	Handle:        handle,
}

func init() { guest.Export(handler) }

func main() {}
