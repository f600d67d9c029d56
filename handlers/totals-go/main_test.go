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
	changed := result.Published[0]
	if changed.Topic != "totals" || changed.Key != message.Key || changed.Payload.String() != `{"customer":"ada","total_cents":8400}` {
		t.Errorf("%+v", changed)
	}
}

func TestWhatIsNoOrderIsRejected(t *testing.T) {
	var host guesttest.Host
	result := host.Call(handler, guesttest.Message("orders", "order.placed", "no order"))
	if _, ok := result.Ending.(guest.Reject); !ok {
		t.Errorf("%#v", result.Ending)
	}
}
