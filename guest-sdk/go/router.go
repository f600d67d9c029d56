package guest

import (
	"encoding/json"
	"fmt"
)

// Router hands a message to the function of its event type, source and schema version, after the payload of an old
// version was made one of the newest.
type Router struct {
	// Topics that the router's own subscriptions take.
	Topics []string
	// Routes of which the first match gets the message. Where none matches, the message is skipped.
	Routes []Route
	// Upcasts by which old payloads become new ones, in a chain.
	Upcasts []Upcast
	// DefaultVersion is what a message without a schema version counts as; "" fits no SchemaVersion but "".
	DefaultVersion string
}

// Route is a function and the messages that it gets. An empty pattern fits all.
type Route struct {
	// EventType is a pattern of segments: "order.*" takes one more, "order.**" all that follow.
	EventType string
	// Source is a pattern as EventType is.
	Source string
	// SchemaVersion is a prefix of segments, compared after upcasting: "3" takes "3.1".
	SchemaVersion string
	Handle        func(call *Call, message *Message) error
}

// Upcast makes the payload of one schema version that of a later one; [Upcasting] makes one of a typed function.
type Upcast struct {
	// EventType is a pattern as that of a [Route].
	EventType string
	// From is a prefix of segments: "1" takes "1.2".
	From string
	// To is the version that the payload has afterwards.
	To string
	// Apply gets the payload and gives the new one, both JSON.
	Apply func(payload []byte) ([]byte, error)
}

// Upcasting is an upcast by a function of JSON values. A payload that is not the JSON that Old expects is rejected.
func Upcasting[Old, New any](eventType, from, to string, upcast func(Old) (New, error)) Upcast {
	return Upcast{EventType: eventType, From: from, To: to, Apply: func(payload []byte) ([]byte, error) {
		var old Old
		if err := json.Unmarshal(payload, &old); err != nil {
			return nil, Reject(fmt.Sprintf("the payload is not the JSON of schema version %s: %v", from, err))
		}
		value, err := upcast(old)
		if err != nil {
			return nil, err
		}
		return json.Marshal(value)
	}}
}

// Handler is the handler whose subscriptions are those of the routes.
func (r *Router) Handler() Handler {
	return Handler{Subscriptions: r.Subscriptions(), Handle: r.Handle}
}

// Subscriptions take what the routes match: one for each route. Those of a router that changes schema versions take
// all of them.
func (r *Router) Subscriptions() []Subscription {
	changes := len(r.Upcasts) > 0 || r.DefaultVersion != ""
	subscriptions := make([]Subscription, 0, len(r.Routes))
	for _, route := range r.Routes {
		subscription := Subscription{
			Topics:     r.Topics,
			EventTypes: pattern(route.EventType),
			Sources:    pattern(route.Source),
		}
		if !changes {
			subscription.SchemaVersions = pattern(route.SchemaVersion)
		}
		subscriptions = append(subscriptions, subscription)
	}
	return subscriptions
}

func pattern(pattern string) []string {
	if pattern == "" {
		return nil
	}
	return []string{pattern}
}

// Handle gives the message to its route.
func (r *Router) Handle(call *Call, message *Message) error {
	message, err := r.upcast(message)
	if err != nil {
		return err
	}
	version := r.version(message)
	for _, route := range r.Routes {
		if matches(route.EventType, message.EventType) && matches(route.Source, message.Source) &&
			versionMatches(route.SchemaVersion, version) {
			return route.Handle(call, message)
		}
	}
	return Skip(fmt.Sprintf("no route for `%s` from `%s`, schema version `%s`", message.EventType, message.Source, version))
}

func (r *Router) version(message *Message) string {
	if message.SchemaVersion == nil {
		return r.DefaultVersion
	}
	return *message.SchemaVersion
}

// upcast gives the message as it would be in the newest version. Each step is taken once, so that no table of steps
// goes on for ever.
func (r *Router) upcast(message *Message) (*Message, error) {
	for range r.Upcasts {
		step := r.step(message)
		if step == nil {
			break
		}
		if message.Payload == nil {
			return nil, Reject(fmt.Sprintf("message `%s` has no payload", message.MessageID))
		}
		payload, err := step.Apply(message.Payload.Bytes())
		if err != nil {
			return nil, fmt.Errorf("upcasting message `%s` from schema version %s to %s: %w", message.MessageID, step.From, step.To, err)
		}
		newer := *message
		newer.Payload = Text(string(payload))
		newer.SchemaVersion = &step.To
		message = &newer
	}
	return message, nil
}

func (r *Router) step(message *Message) *Upcast {
	version := r.version(message)
	for i, step := range r.Upcasts {
		if version != "" && matches(step.EventType, message.EventType) && versionMatches(step.From, version) {
			return &r.Upcasts[i]
		}
	}
	return nil
}
