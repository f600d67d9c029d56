// Package guesttest is a host in memory for the tests of handlers.
//
//	var host guesttest.Host
//	message := guesttest.Message("orders", "order.placed", Order{Customer: "ada", AmountCents: 4200})
//	message.Key = guest.Text("ada")
//	result := host.Call(handler, message)
//	// result.Ending, result.Published, host.Keyed["ada"]["total_cents"]
package guesttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailroom/guest"
)

// Host keeps what calls left behind, and grants everything that it has. The zero value is ready. As the real host does,
// it drops what a call published and stored unless the call completes.
type Host struct {
	// Topics that may be published to; nil grants all.
	Topics []string
	// Keyed state by the message's key and the name.
	Keyed map[string]map[string][]byte
	// Shared state by the name.
	Shared map[string][]byte
	// StateDenied takes the grant of state away.
	StateDenied bool
	// Values of the configuration.
	Values map[string]string
	// OnQuery answers queries; nil denies them.
	OnQuery func(statement string, params []any) (*guest.Table, error)
	// OnExecute answers statements; nil denies them.
	OnExecute func(statement string, params []any) (uint64, error)
	// OnHTTP answers requests; nil denies them.
	OnHTTP func(request guest.Request) (*guest.Response, error)

	emitted map[string]string
	ids     int
}

// Result is what a call did.
type Result struct {
	// Ending is nil where the call completed, else a guest.Skip, guest.Reject, guest.Retry or guest.Failure.
	Ending error
	// Published by a call that completed.
	Published []Published
	// Lines of the log, also of a call that did not complete.
	Lines []Line
}

// Published is a message with the id that it got.
type Published struct {
	ID string
	guest.Outgoing
}

// Line is a line of the log.
type Line struct {
	Level         guest.Level
	Context, Text string
}

// Message is a first delivery with value as its JSON payload, without a key. It panics where value cannot be written.
func Message(topic, eventType string, value any) *guest.Message {
	return &guest.Message{
		ID:          "00000000-0000-4000-8000-000000000001",
		MessageID:   topic + "/0/0",
		EventType:   eventType,
		Source:      topic,
		Position:    guest.Position{Topic: topic},
		Payload:     guest.Text(string(JSON(value))),
		ProducedAt:  time.UnixMilli(0).UTC(),
		Attempt:     1,
		MaxAttempts: 6,
		Delivery:    1,
	}
}

// JSON is value as JSON, for state. It panics where value cannot be written.
func JSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// Call calls the handler once.
func (h *Host) Call(handler guest.Handler, message *guest.Message) Result {
	call := &call{
		host:    h,
		key:     message.Key,
		keyed:   maps.Clone(h.Keyed[message.Key.String()]),
		shared:  maps.Clone(h.Shared),
		emitted: maps.Clone(h.emitted),
	}
	result := Result{Ending: handler.Handled(guest.NewCall(call), message), Lines: call.lines}
	if result.Ending != nil {
		return result
	}
	if message.Key != nil && call.keyed != nil {
		if h.Keyed == nil {
			h.Keyed = make(map[string]map[string][]byte)
		}
		h.Keyed[message.Key.String()] = call.keyed
	}
	h.Shared, h.emitted = call.shared, call.emitted
	result.Published = call.published
	return result
}

// call is the guest.Host of one call.
type call struct {
	host      *Host
	key       *guest.Data
	keyed     map[string][]byte
	shared    map[string][]byte
	emitted   map[string]string
	published []Published
	lines     []Line
}

func (c *call) Publish(message guest.Outgoing) (string, error) {
	switch {
	case message.Topic == "":
		return "", &guest.PublishError{Kind: guest.Invalid, Reason: "the topic is empty"}
	case c.host.Topics != nil && !slices.Contains(c.host.Topics, message.Topic):
		return "", &guest.PublishError{Kind: guest.NotGranted, Topic: message.Topic}
	}
	if id, used := c.emitted[message.IdempotencyKey]; used {
		return id, nil
	}
	c.host.ids++
	id := fmt.Sprintf("00000000-0000-4000-9000-%012d", c.host.ids)
	if message.IdempotencyKey != "" {
		if c.emitted == nil {
			c.emitted = make(map[string]string)
		}
		c.emitted[message.IdempotencyKey] = id
	}
	c.published = append(c.published, Published{id, message})
	return id, nil
}

// state is the names of a scope, made where there are none.
func (c *call) state(scope guest.Scope, name string) (map[string][]byte, error) {
	values := &c.shared
	if scope == guest.KeyedScope {
		values = &c.keyed
	}
	switch {
	case c.host.StateDenied:
		return nil, &guest.StateError{Kind: guest.NotGranted, Name: name}
	case scope == guest.KeyedScope && c.key == nil:
		return nil, &guest.StateError{Kind: guest.NoKey, Name: name}
	}
	if *values == nil {
		*values = make(map[string][]byte)
	}
	return *values, nil
}

// named is the state of a scope, for one of its names.
func (c *call) named(scope guest.Scope, name string) (map[string][]byte, error) {
	values, err := c.state(scope, name)
	if err == nil && name == "" {
		err = &guest.StateError{Kind: guest.InvalidName, Reason: "the name is empty"}
	}
	return values, err
}

func (c *call) GetState(scope guest.Scope, name string) ([]byte, error) {
	values, err := c.named(scope, name)
	return values[name], err
}

func (c *call) SetState(scope guest.Scope, name string, value []byte) error {
	values, err := c.named(scope, name)
	if err == nil {
		values[name] = append([]byte{}, value...)
	}
	return err
}

func (c *call) RemoveState(scope guest.Scope, name string) error {
	values, err := c.named(scope, name)
	if err == nil {
		delete(values, name)
	}
	return err
}

func (c *call) StateNames(scope guest.Scope, prefix string, after *string, limit uint32) ([]string, error) {
	values, err := c.state(scope, prefix)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if strings.HasPrefix(name, prefix) && (after == nil || name > *after) && len(names) < int(limit) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (c *call) Query(statement string, params []any) (*guest.Table, error) {
	if c.host.OnQuery == nil {
		return nil, denied()
	}
	return c.host.OnQuery(statement, params)
}

func (c *call) Execute(statement string, params []any) (uint64, error) {
	if c.host.OnExecute == nil {
		return 0, denied()
	}
	return c.host.OnExecute(statement, params)
}

func denied() error {
	return &guest.SQLError{SQLState: "42501", Message: "this host has no SQL: set OnQuery and OnExecute"}
}

func (c *call) Config(key string) (*string, error) {
	value, found := c.host.Values[key]
	if !found {
		return nil, &guest.ConfigError{Reason: "this host has no value for " + key}
	}
	return &value, nil
}

func (c *call) AllConfig() (map[string]string, error) {
	return maps.Clone(c.host.Values), nil
}

func (c *call) Log(level guest.Level, context, text string) {
	c.lines = append(c.lines, Line{level, context, text})
}

func (c *call) HTTP(request guest.Request) (*guest.Response, error) {
	if c.host.OnHTTP == nil {
		return nil, &guest.HTTPError{Kind: guest.HTTPDenied, URL: request.URL, Host: request.URL}
	}
	return c.host.OnHTTP(request)
}
