// A handler that does by event type what the tests of all SDKs ask for.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mailroom/guest"
)

type object = map[string]any

func init() {
	handler := router().Handler()
	handler.Subscriptions = []guest.Subscription{{
		Topics:     []string{"conformance"},
		EventTypes: []string{"conformance.**", "order.**"},
		Binary:     true,
	}}
	guest.Export(handler)
}

func main() {}

func router() *guest.Router {
	router := &guest.Router{
		DefaultVersion: "3",
		Upcasts: []guest.Upcast{
			guest.Upcasting("order.placed", "1", "2", func(old placed1) (placed2, error) {
				return placed2{int64(old.Amount * 100)}, nil
			}),
			guest.Upcasting("order.placed", "2", "3", func(old placed2) (placed3, error) {
				return placed3{old.AmountCents, "EUR"}, nil
			}),
		},
	}
	for _, route := range []struct {
		name   string
		handle func(*guest.Call, *guest.Message) error
	}{
		{"echo", echo},
		{"size", size},
		{"json", typed},
		{"completed", func(*guest.Call, *guest.Message) error { return nil }},
		{"retry-after", retryAfter},
		{"uncounted", uncounted},
		{"skipped", func(*guest.Call, *guest.Message) error { return guest.Skip("nothing to do") }},
		{"rejected", func(*guest.Call, *guest.Message) error { return guest.Reject("never") }},
		{"failed", failed},
		{"uncaught", func(*guest.Call, *guest.Message) error { return deepInTheStack() }},
		{"published-then-failed", publishedThenFailed},
		{"publish", publish},
		{"publish-denied", refused("elsewhere")},
		{"publish-invalid", refused("")},
		{"state", state},
		{"state-kept", stateKept},
		{"state-invalid", stateRefused("")},
		{"state-no-key", stateRefused("a")},
		{"shared", shared},
		{"shared-read", sharedRead},
		{"sql", sql},
		{"sql-error", sqlError},
		{"config", config},
		{"log", log},
		{"http", http},
		{"spin", func(*guest.Call, *guest.Message) error { return spin() }},
		{"allocate", func(*guest.Call, *guest.Message) error { return allocate() }},
	} {
		router.Routes = append(router.Routes, guest.Route{EventType: "conformance." + route.name, Handle: route.handle})
	}
	router.Routes = append(router.Routes,
		guest.Route{EventType: "order.placed", SchemaVersion: "3", Handle: placed},
		guest.Route{EventType: "order.cancelled", Source: "shop.*", Handle: cancelled},
	)
	return router
}

// publishResult publishes what the tests read.
func publishResult(call *guest.Call, message *guest.Message, result any) error {
	outgoing := guest.Outgoing{Topic: "conformance-results", EventType: "conformance.result", Key: message.Key}
	_, err := call.PublishJSON(outgoing, result)
	return err
}

func data(data *guest.Data) any {
	switch {
	case data == nil:
		return nil
	case data.IsBinary():
		return object{"base64": base64.StdEncoding.EncodeToString(data.Bytes())}
	}
	return object{"text": data.String()}
}

func echo(call *guest.Call, message *guest.Message) error {
	headers := make([][2]any, len(message.Headers))
	for i, header := range message.Headers {
		headers[i] = [2]any{header.Name, data(header.Value)}
	}
	return publishResult(call, message, object{
		"id":             message.ID,
		"message_id":     message.MessageID,
		"event_type":     message.EventType,
		"source":         message.Source,
		"schema_version": message.SchemaVersion,
		"topic":          message.Position.Topic,
		"partition":      message.Position.Partition,
		"offset":         message.Position.Offset,
		"key":            data(message.Key),
		"payload":        data(message.Payload),
		"content_type":   message.ContentType,
		"headers":        headers,
		"produced_at_ms": message.ProducedAt.UnixMilli(),
		"correlation_id": message.CorrelationID,
		"causation_id":   message.CausationID,
		"traceparent":    message.Traceparent,
		"attempt":        message.Attempt,
		"max_attempts":   message.MaxAttempts,
		"delivery":       message.Delivery,
	})
}

func size(call *guest.Call, message *guest.Message) error {
	payload := message.Payload.Bytes()
	sum := sha256.Sum256(payload)
	return publishResult(call, message, object{"bytes": len(payload), "sha256": hex.EncodeToString(sum[:])})
}

func typed(call *guest.Call, message *guest.Message) error {
	type order struct {
		OrderID     string `json:"order_id"`
		AmountCents int64  `json:"amount_cents"`
	}
	read, err := guest.JSON[order](message)
	if err != nil {
		return err
	}
	return publishResult(call, message, read)
}

func tries(message *guest.Message) object {
	return object{"attempt": message.Attempt, "delivery": message.Delivery}
}

func retryAfter(call *guest.Call, message *guest.Message) error {
	asked, err := guest.JSON[struct {
		AfterMS int64 `json:"after_ms"`
	}](message)
	if err != nil {
		return err
	}
	if message.Attempt == 1 {
		return guest.Retry{Reason: "later", After: time.Duration(asked.AfterMS) * time.Millisecond}
	}
	return publishResult(call, message, tries(message))
}

func uncounted(call *guest.Call, message *guest.Message) error {
	if message.Delivery <= 2 {
		return guest.Retry{Reason: "not yet", After: 50 * time.Millisecond, Uncounted: true}
	}
	return publishResult(call, message, tries(message))
}

func failed(*guest.Call, *guest.Message) error {
	return guest.Failure{Message: "the bank refused", Code: "bank-refused", Detail: "account 7"}
}

func deepInTheStack() error {
	panic("boom 😀")
}

func publishedThenFailed(call *guest.Call, message *guest.Message) error {
	if err := publishResult(call, message, object{"never": true}); err != nil {
		return err
	}
	if err := call.Keyed().Set("never", true); err != nil {
		return err
	}
	return guest.Failure{Message: "after effects"}
}

func publish(call *guest.Call, message *guest.Message) error {
	asked, err := guest.JSON[struct {
		DelayMS int64 `json:"delay_ms"`
	}](message)
	if err != nil {
		return err
	}
	result := func(outgoing guest.Outgoing) guest.Outgoing {
		outgoing.Topic, outgoing.EventType = "conformance-results", "conformance.result"
		return outgoing
	}
	once := result(guest.Outgoing{Payload: guest.Text("once"), IdempotencyKey: "once-" + message.ID})
	var ids []string
	for _, outgoing := range []guest.Outgoing{
		result(guest.Outgoing{
			Key:           guest.Text("k😀"),
			Payload:       guest.Text("hello 😀"),
			ContentType:   "text/plain",
			SchemaVersion: "2.1",
			Headers: []guest.Header{
				{Name: "a", Value: guest.Text("1")},
				{Name: "a"},
				{Name: "b", Value: guest.Bytes([]byte{0xff, 0})},
			},
		}),
		result(guest.Outgoing{Payload: guest.Bytes([]byte{0, 0xff})}),
		result(guest.Outgoing{}),
		result(guest.Outgoing{Payload: guest.Text("late"), Delay: time.Duration(asked.DelayMS) * time.Millisecond}),
		once,
		once,
	} {
		id, err := call.Publish(outgoing)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	return publishResult(call, message, object{"same_id": ids[4] == ids[5]})
}

// refused publishes to a topic and reports why that was not possible.
func refused(topic string) func(*guest.Call, *guest.Message) error {
	return func(call *guest.Call, message *guest.Message) error {
		_, err := call.Publish(guest.Outgoing{Topic: topic, EventType: "conformance.result"})
		refused, ok := errors.AsType[*guest.PublishError](err)
		switch {
		case !ok:
			return fmt.Errorf("publishing to `%s` gave %w", topic, err)
		case refused.Kind == guest.Invalid:
			return publishResult(call, message, object{"error": refused.Kind, "words": refused.Reason})
		}
		return publishResult(call, message, object{"error": refused.Kind, "topic": refused.Topic})
	}
}

func state(call *guest.Call, message *guest.Message) error {
	keyed := call.Keyed()
	for _, err := range []error{
		keyed.Set("a", object{"n": 1}),
		keyed.SetBytes("b", []byte{0, 0xff}),
		keyed.Set("c/1", 1),
		keyed.Set("c/2", 2),
		keyed.Set("c/3", 3),
		keyed.Remove("b"),
	} {
		if err != nil {
			return err
		}
	}
	a, err := guest.Get[any](keyed, "a")
	if err != nil {
		return err
	}
	b, err := keyed.GetBytes("b")
	if err != nil {
		return err
	}
	names := []string{}
	for name, err := range keyed.Names("c/") {
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	return publishResult(call, message, object{"a": a, "b": b, "names": names})
}

func stateKept(call *guest.Call, message *guest.Message) error {
	a, err := guest.Get[any](call.Keyed(), "a")
	if err != nil {
		return err
	}
	return publishResult(call, message, object{"a": a})
}

// stateRefused sets keyed state and reports why that was not possible.
func stateRefused(name string) func(*guest.Call, *guest.Message) error {
	return func(call *guest.Call, message *guest.Message) error {
		err := call.Keyed().Set(name, true)
		refused, ok := errors.AsType[*guest.StateError](err)
		if !ok {
			return fmt.Errorf("setting `%s` gave %w", name, err)
		}
		return publishResult(call, message, object{"error": refused.Kind})
	}
}

func shared(call *guest.Call, _ *guest.Message) error {
	count, err := guest.Get[int64](call.Shared(), "count")
	if err != nil {
		return err
	}
	return call.Shared().Set("count", count+1)
}

func sharedRead(call *guest.Call, message *guest.Message) error {
	count, err := guest.Get[int64](call.Shared(), "count")
	if err != nil {
		return err
	}
	return publishResult(call, message, object{"count": count})
}

func sql(call *guest.Call, message *guest.Message) error {
	table, err := call.Query(
		"select $1::boolean, $2::bigint, $3::float8, $4::text, $5::bytea, null::text",
		true, int64(9007199254740993), 1.5, "ü😀", []byte{0, 0xff},
	)
	if err != nil {
		return err
	}
	var (
		flag  bool
		large int64
		float float64
		text  string
		bytes []byte
		null  *string
	)
	if err := table.Rows[0].Scan(&flag, &large, &float, &text, &bytes, &null); err != nil {
		return err
	}
	row := []any{flag, strconv.FormatInt(large, 10), float, text, bytes, null}
	if err := publishResult(call, message, object{"columns": len(table.Columns), "row": row}); err != nil {
		return err
	}
	inserted, err := call.Execute("insert into conformance (id) values ($1)", message.ID)
	if err != nil {
		return err
	}
	return publishResult(call, message, object{"inserted": inserted})
}

func sqlError(call *guest.Call, _ *guest.Message) error {
	_, err := call.Query("select 1/0")
	if failure, ok := errors.AsType[*guest.SQLError](err); ok {
		return guest.Failure{Message: failure.Message, Code: failure.SQLState}
	}
	return err
}

func config(call *guest.Call, message *guest.Message) error {
	greeting, err := call.Config("GREETING")
	if err != nil {
		return err
	}
	_, absent := call.Config("ABSENT")
	if absent == nil {
		return errors.New("ABSENT has a value")
	}
	return publishResult(call, message, object{"greeting": greeting, "absent": absent.Error()})
}

func log(call *guest.Call, _ *guest.Message) error {
	for level := guest.Trace; level <= guest.Critical; level++ {
		call.Log(level, "conformance", fmt.Sprintf("a line at %s 😀", level))
	}
	fmt.Println("printed 😀")
	return nil
}

func http(call *guest.Call, message *guest.Message) error {
	asked, err := guest.JSON[struct{ URL string }](message)
	if err != nil {
		return err
	}
	response, err := call.HTTP(guest.Request{
		Method:  "POST",
		URL:     asked.URL,
		Headers: []guest.HTTPHeader{{Name: "x-conformance", Value: "yes"}},
		Body:    []byte("ping 😀"),
	})
	if err != nil {
		return publishResult(call, message, object{"error": err.Error()})
	}
	return publishResult(call, message, object{"status": response.Status, "body": string(response.Body)})
}

func spin() error {
	for {
	}
}

func allocate() error {
	var kept [][]byte
	for {
		kept = append(kept, make([]byte, 1<<20))
	}
}

type placed1 struct {
	Amount float64 `json:"amount"`
}

type placed2 struct {
	AmountCents int64 `json:"amount_cents"`
}

type placed3 struct {
	AmountCents int64  `json:"amount_cents"`
	Currency    string `json:"currency"`
}

func placed(call *guest.Call, message *guest.Message) error {
	got, err := guest.JSON[placed3](message)
	if err != nil {
		return err
	}
	return publishResult(call, message, got)
}

func cancelled(call *guest.Call, message *guest.Message) error {
	return publishResult(call, message, object{"cancelled_by": message.Source})
}
