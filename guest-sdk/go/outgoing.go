package guest

import (
	"encoding/json"
	"fmt"
	"time"
)

// Outgoing is a message to publish. Correlation, causation and trace are set by the host.
type Outgoing struct {
	Topic     string
	EventType string
	// Key orders the messages of a topic; nil means no order. [Message.Key] may be given as it is.
	Key *Data
	// Payload from [Text] or [Bytes]; nil is a tombstone, by which a compacted topic forgets a key.
	Payload *Data
	// ContentType, for example "text/csv"; "" for none.
	ContentType string
	Headers     []Header
	// SchemaVersion of the payload, "" for none.
	SchemaVersion string
	// IdempotencyKey emits at most once; a key already used gives the first message's id. "" for none.
	IdempotencyKey string
	// Delay counts from the commit; 0 for none.
	Delay time.Duration
}

// PublishJSON publishes a message with value as its payload, and with its content type; see [Call.Publish]. A value
// that cannot be written as JSON is an error as well.
func (c *Call) PublishJSON(message Outgoing, value any) (string, error) {
	payload, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("the payload for `%s` cannot be written as JSON: %w", message.Topic, err)
	}
	message.Payload = Text(string(payload))
	if message.ContentType == "" {
		message.ContentType = "application/json"
	}
	return c.Publish(message)
}

// Publish hands the message to the host and gives its id, which is the same on every delivery of the message being
// handled. It is committed with the call, and dropped where the call does not complete. The error is a
// *[PublishError]; nothing was emitted then, and the call may go on.
func (c *Call) Publish(message Outgoing) (string, error) {
	return c.host.Publish(message)
}

// ErrorKind is a reason for which the host refuses a message or an access to state.
type ErrorKind string

const (
	NotGranted  ErrorKind = "not-granted"
	TooLarge    ErrorKind = "too-large"
	TooMany     ErrorKind = "too-many"
	Invalid     ErrorKind = "invalid"
	NoKey       ErrorKind = "no-key"
	InvalidName ErrorKind = "invalid-name"
)

// PublishError is the reason for which the host did not take a message.
type PublishError struct {
	// Kind is NotGranted, TooLarge, TooMany or Invalid.
	Kind  ErrorKind
	Topic string
	// Limit in bytes where TooLarge, in messages where TooMany.
	Limit uint64
	// Reason in the host's words where Invalid.
	Reason string
}

func (e *PublishError) Error() string {
	switch e.Kind {
	case NotGranted:
		return fmt.Sprintf("this handler may not publish to `%s`: add it to `publish` under `[grants]` in its manifest", e.Topic)
	case TooLarge:
		return fmt.Sprintf("the message for `%s` is larger than the %d bytes that are allowed", e.Topic, e.Limit)
	case TooMany:
		return fmt.Sprintf("the message for `%s` is one more than the %d that a call may emit", e.Topic, e.Limit)
	}
	return fmt.Sprintf("the message for `%s` cannot be published: %s", e.Topic, e.Reason)
}
