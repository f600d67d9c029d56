package main

import (
	"testing"

	"mailroom/guest"
	"mailroom/guest/guesttest"
)

func TestTheTotalGrowsAndIsPublished(t *testing.T) {
	var host guesttest.Host
	message := guesttest.Message("orders", "order.placed", order{"ada", 4200})
	message.Key = guest.Text("ada")
	host.Call(handler, message)
	result := host.Call(handler, message)
	if result.Ending != nil || string(host.Keyed["ada"]["total_cents"]) != "8400" {
		t.Fatalf("%+v, %s", result, host.Keyed["ada"]["total_cents"])
	}
}
