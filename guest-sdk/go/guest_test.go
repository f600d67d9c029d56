package guest_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroom/guest"
	"mailroom/guest/guesttest"
)

// ending is how a call of a function ends.
func ending(handle func(*guest.Call, *guest.Message) error) error {
	var host guesttest.Host
	return host.Call(guest.Handler{Handle: handle}, guesttest.Message("orders", "order.placed", 1)).Ending
}

func TestEveryEndingReachesTheHostAsItWasSaid(t *testing.T) {
	cause := errors.New("no route")
	for _, test := range []struct{ returned, ending error }{
		{nil, nil},
		{guest.Skip("a test order"), guest.Skip("a test order")},
		{guest.Reject("no customer"), guest.Reject("no customer")},
		{fmt.Errorf("order 7: %w", guest.Reject("no customer")), guest.Reject("order 7: no customer")},
		{
			fmt.Errorf("order 7: %w", guest.Retry{Reason: "busy", After: 2 * time.Second, Uncounted: true}),
			guest.Retry{Reason: "order 7: busy", After: 2 * time.Second, Uncounted: true},
		},
		{guest.Failure{Message: "refused", Code: "c", Detail: "d"}, guest.Failure{Message: "refused", Code: "c", Detail: "d"}},
		{
			fmt.Errorf("charging: %w", errors.Join(cause, fmt.Errorf("again: %w", cause))),
			guest.Failure{
				Message: "charging: no route\nagain: no route",
				Detail:  "caused by: no route\nagain: no route\ncaused by: no route\ncaused by: again: no route\ncaused by: no route",
			},
		},
	} {
		got := ending(func(*guest.Call, *guest.Message) error { return test.returned })
		if got != test.ending {
			t.Errorf("%v ends as %#v, not %#v", test.returned, got, test.ending)
		}
	}
}

func panicsDeepInTheStack() {
	var nothing []int
	_ = nothing[1]
}

func TestAPanicIsAFailureWithTheStackFromWhereItPanicked(t *testing.T) {
	got := ending(func(*guest.Call, *guest.Message) error {
		panicsDeepInTheStack()
		return nil
	})
	failure, ok := got.(guest.Failure)
	if !ok || failure.Message != "runtime error: index out of range [1] with length 0" {
		t.Fatalf("the ending is %#v", got)
	}
	if stack := failure.Detail; !strings.Contains(stack, "panicsDeepInTheStack") || strings.Contains(stack, "debug.Stack") {
		t.Errorf("the stack is %s", stack)
	}
}

func TestJSONThatIsNotAsExpectedIsRejectedWithTheMessageAndTheReason(t *testing.T) {
	for payload, reason := range map[*guest.Data]string{
		nil:                 "message `orders/0/0` has no payload",
		guest.Text("[1"):    "unexpected end of JSON input",
		guest.Text("[300]"): "json: cannot unmarshal number 300 into Go value of type uint8",
	} {
		message := guesttest.Message("orders", "order.placed", nil)
		message.Payload = payload
		_, err := guest.JSON[[]uint8](message)
		if reject, ok := err.(guest.Reject); !ok || !strings.HasSuffix(string(reject), reason) {
			t.Errorf("%v", err)
		}
	}
	message := guesttest.Message("orders", "order.placed", map[string]int{"n": 1})
	if value, err := guest.JSON[map[string]int](message); err != nil || value["n"] != 1 {
		t.Errorf("%v %v", value, err)
	}
}

func TestDataIsTextOrBytesOrAbsent(t *testing.T) {
	var absent *guest.Data
	if _, ok := absent.Text(); ok || absent.Bytes() != nil || absent.String() != "" || absent.IsBinary() {
		t.Error("absent data has something")
	}
	if _, ok := guest.Bytes([]byte{0xff}).Text(); ok {
		t.Error("bytes that are not UTF-8 are text")
	}
	if text, ok := guest.Bytes([]byte("ü")).Text(); !ok || text != "ü" {
		t.Error("bytes that are UTF-8 are no text")
	}
}

func TestOfRepeatedHeadersTheLastOneCounts(t *testing.T) {
	message := &guest.Message{Headers: []guest.Header{
		{"reply-to", guest.Text("first")}, {"reply-to", guest.Text("last")}, {"empty", nil},
	}}
	if message.Header("reply-to").String() != "last" || message.Header("empty") != nil || message.Header("missing") != nil {
		t.Error("another header was found")
	}
}

func TestStateIsKeptWhereTheCallCompletes(t *testing.T) {
	var host guesttest.Host
	handle := func(call *guest.Call, message *guest.Message) error {
		count, err := guest.Get[int](call.Keyed(), "count")
		if err != nil {
			return err
		}
		for i := range 2500 {
			if err := call.Shared().SetBytes(fmt.Sprintf("n/%04d", i), nil); err != nil {
				return err
			}
		}
		if err := call.Keyed().Set("count", count+1); err != nil {
			return err
		}
		if count == 1 {
			return guest.Skip("enough")
		}
		return call.Keyed().Remove("never set")
	}
	message := guesttest.Message("orders", "order.placed", 1)
	message.Key = guest.Text("ada")
	for range 3 {
		host.Call(guest.Handler{Handle: handle}, message)
	}
	if got := string(host.Keyed["ada"]["count"]); got != "1" {
		t.Errorf("the count is %s", got)
	}
	result := host.Call(guest.Handler{Handle: func(call *guest.Call, _ *guest.Message) error {
		names := 0
		for name, err := range call.Shared().Names("n/") {
			if err != nil || name != fmt.Sprintf("n/%04d", names) {
				return fmt.Errorf("%s is %d: %w", name, names, err)
			}
			names++
		}
		call.Infof("%d names", names)
		return nil
	}}, message)
	if result.Ending != nil || !slices.Equal(result.Lines, []guesttest.Line{{Level: guest.Info, Text: "2500 names"}}) {
		t.Errorf("%+v", result)
	}
}

func TestRefusalsAreTyped(t *testing.T) {
	host := guesttest.Host{Topics: []string{"a"}}
	result := host.Call(guest.Handler{Handle: func(call *guest.Call, _ *guest.Message) error {
		_, err := call.Publish(guest.Outgoing{Topic: "b", EventType: "x"})
		if refused, ok := errors.AsType[*guest.PublishError](err); !ok || refused.Kind != guest.NotGranted {
			return err
		}
		err = call.Keyed().Set("n", 1)
		if refused, ok := errors.AsType[*guest.StateError](err); !ok || refused.Kind != guest.NoKey {
			return err
		}
		if err := call.Shared().Set("", 1); err == nil {
			return errors.New("an empty name was taken")
		}
		_, err = call.HTTP(guest.Request{URL: "http://b"})
		if refused, ok := errors.AsType[*guest.HTTPError](err); !ok || refused.Kind != guest.HTTPDenied {
			return err
		}
		_, err = call.Config("ABSENT")
		if _, ok := errors.AsType[*guest.ConfigError](err); !ok {
			return err
		}
		_, err = call.PublishJSON(guest.Outgoing{Topic: "a"}, func() {})
		if err == nil {
			return errors.New("a function was written as JSON")
		}
		return nil
	}}, guesttest.Message("orders", "order.placed", 1))
	if result.Ending != nil {
		t.Error(result.Ending)
	}
}

func TestPublishing(t *testing.T) {
	var host guesttest.Host
	result := host.Call(guest.Handler{Handle: func(call *guest.Call, message *guest.Message) error {
		once := guest.Outgoing{Topic: "totals", EventType: "x", Key: message.Key, IdempotencyKey: "once"}
		first, err := call.PublishJSON(once, []int{1, 2})
		if err != nil {
			return err
		}
		if second, err := call.PublishJSON(once, 3); second != first {
			return fmt.Errorf("%s is not %s: %w", second, first, err)
		}
		return nil
	}}, guesttest.Message("orders", "order.placed", 1))
	if len(result.Published) != 1 {
		t.Fatalf("%+v", result)
	}
	if published := result.Published[0]; published.ContentType != "application/json" || published.Payload.String() != "[1,2]" {
		t.Errorf("%+v", published)
	}
}

func TestSQLValuesGoThereAndBack(t *testing.T) {
	type cents int64
	var absent *string
	host := guesttest.Host{OnQuery: func(_ string, params []any) (*guest.Table, error) {
		columns := strings.Split("abcdefgh", "")[:len(params)]
		return guest.NewTable(columns, params), nil
	}}
	result := host.Call(guest.Handler{Handle: func(call *guest.Call, _ *guest.Message) error {
		table, err := call.Query("", true, cents(7), uint8(8), 1.5, new("ü"), []byte{0, 255}, absent, nil)
		if err != nil {
			return err
		}
		var flag bool
		var amount cents
		var small uint8
		var text string
		var float float64
		var bytes []byte
		var null *string
		var any any
		if err := table.Rows[0].Scan(&flag, &amount, &small, &float, &text, &bytes, &null, &any); err != nil {
			return err
		}
		call.Infof("%v %v %v %v %v %s %v %v", flag, amount, small, float, text, base64.StdEncoding.EncodeToString(bytes), null, any)
		named, err := guest.Column[*int64](table.Rows[0], "b")
		if err != nil || *named != 7 {
			return fmt.Errorf("%v: %w", named, err)
		}
		if _, err := guest.Column[int64](table.Rows[0], "g"); err == nil {
			return errors.New("null was an integer")
		}
		if _, err := guest.Column[string](table.Rows[0], "b"); err == nil {
			return errors.New("an integer was text")
		}
		if _, err := call.Query("", time.Now()); err == nil {
			return errors.New("a time was taken")
		}
		return nil
	}}, guesttest.Message("orders", "order.placed", 1))
	if result.Ending != nil || result.Lines[0].Text != "true 7 8 1.5 ü AP8= <nil> <nil>" {
		t.Errorf("%+v", result)
	}
}

func router(got *[]string) *guest.Router {
	note := func(name string) func(*guest.Call, *guest.Message) error {
		return func(_ *guest.Call, message *guest.Message) error {
			*got = append(*got, fmt.Sprintf("%s %s", name, message.Payload))
			return nil
		}
	}
	type one struct{ Amount float64 }
	type two struct{ AmountCents int }
	type three struct {
		AmountCents int
		Currency    string
	}
	return &guest.Router{
		Topics: []string{"orders"},
		Routes: []guest.Route{
			{EventType: "order.placed", SchemaVersion: "3", Handle: note("placed")},
			{EventType: "order.cancelled", Source: "shop.*", Handle: note("cancelled")},
		},
		Upcasts: []guest.Upcast{
			guest.Upcasting("order.placed", "1", "2", func(old one) (two, error) {
				return two{int(old.Amount * 100)}, nil
			}),
			guest.Upcasting("order.placed", "2", "3", func(old two) (three, error) {
				return three{old.AmountCents, "EUR"}, nil
			}),
		},
		DefaultVersion: "3",
	}
}

func TestARouterUpcastsAndChooses(t *testing.T) {
	for _, test := range []struct {
		eventType, source, version, payload, got, skipped string
	}{
		{"order.placed", "x", "1.4", `{"Amount":12.5}`, `placed {"AmountCents":1250,"Currency":"EUR"}`, ""},
		{"order.placed", "x", "2", `{"AmountCents":7}`, `placed {"AmountCents":7,"Currency":"EUR"}`, ""},
		{"order.placed", "x", "3.1", `{}`, `placed {}`, ""},
		{"order.placed", "x", "", `{}`, `placed {}`, ""},
		{"order.placed", "x", "4", `{}`, "", "no route for `order.placed` from `x`, schema version `4`"},
		{"order.cancelled", "shop.eu", "", `{}`, `cancelled {}`, ""},
		{"order.cancelled", "shop", "", `{}`, "", "no route for `order.cancelled` from `shop`, schema version `3`"},
	} {
		var got []string
		message := guesttest.Message("orders", test.eventType, nil)
		message.Source, message.Payload = test.source, guest.Text(test.payload)
		if test.version != "" {
			message.SchemaVersion = &test.version
		}
		var host guesttest.Host
		result := host.Call(router(&got).Handler(), message)
		skip, _ := result.Ending.(guest.Skip)
		if strings.Join(got, "|") != test.got || string(skip) != test.skipped {
			t.Errorf("%+v got %q and %v", test, got, result.Ending)
		}
	}
}

func TestAPayloadThatCannotBeUpcastIsRejected(t *testing.T) {
	var got []string
	for _, payload := range []*guest.Data{guest.Text("{"), nil} {
		message := guesttest.Message("orders", "order.placed", nil)
		message.SchemaVersion, message.Payload = new("1"), payload
		var host guesttest.Host
		if result := host.Call(router(&got).Handler(), message); reflect.TypeOf(result.Ending) != reflect.TypeFor[guest.Reject]() {
			t.Errorf("%#v", result.Ending)
		}
	}
}

func TestSubscriptionsFollowFromTheRoutes(t *testing.T) {
	want := []guest.Subscription{
		{Topics: []string{"orders"}, EventTypes: []string{"order.placed"}},
		{Topics: []string{"orders"}, EventTypes: []string{"order.cancelled"}, Sources: []string{"shop.*"}},
	}
	if got := router(nil).Subscriptions(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	plain := guest.Router{Topics: []string{"a"}, Routes: []guest.Route{{SchemaVersion: "2"}}}
	if got := plain.Subscriptions(); got[0].SchemaVersions[0] != "2" {
		t.Errorf("%+v", got)
	}
}
