package guest

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Message is one delivery. All but Attempt and Delivery is the same on every delivery.
type Message struct {
	// ID of the inbox row, a UUID; stable across retries and replay.
	ID string
	// MessageID is the producer's, or the record's place in the log where it gave none.
	MessageID string
	// EventType, for example "order.placed".
	EventType string
	// Source is the logical sender: the header "source", else the topic.
	Source string
	// SchemaVersion is nil where the producer gave none.
	SchemaVersion *string
	Position      Position
	// Key is nil where the record has none: no order, and no keyed state.
	Key *Data
	// Payload is nil for a tombstone; an empty one is empty.
	Payload       *Data
	ContentType   *string
	Headers       []Header
	ProducedAt    time.Time
	CorrelationID *string
	CausationID   *string
	Traceparent   *string
	// Attempt counts from 1; only calls whose end counted raise it.
	Attempt     uint32
	MaxAttempts uint32
	// Delivery counts from 1; every claim raises it.
	Delivery uint32
}

// Position is the Kafka record that a message came from.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Header is a Kafka header. Names may repeat, and a nil value is a null.
type Header struct {
	Name  string
	Value *Data
}

// Data is bytes that came as text or as binary. A nil *Data is the absence of data, and has no bytes.
type Data struct {
	text   string
	bytes  []byte
	binary bool
}

// Text is data from text.
func Text(text string) *Data {
	return &Data{text: text}
}

// Bytes is data from bytes.
func Bytes(bytes []byte) *Data {
	return &Data{bytes: bytes, binary: true}
}

// IsBinary tells whether the data came as bytes.
func (d *Data) IsBinary() bool {
	return d != nil && d.binary
}

// Bytes are the bytes, whichever form they came in.
func (d *Data) Bytes() []byte {
	switch {
	case d == nil:
		return nil
	case d.binary:
		return d.bytes
	}
	return []byte(d.text)
}

// String is the bytes as a string, which need not be UTF-8.
func (d *Data) String() string {
	switch {
	case d == nil:
		return ""
	case d.binary:
		return string(d.bytes)
	}
	return d.text
}

// Text is the text, and false where there is none or the bytes are not UTF-8.
func (d *Data) Text() (string, bool) {
	if d == nil {
		return "", false
	}
	text := d.String()
	return text, !d.binary || utf8.ValidString(text)
}

// JSON is the payload of a message, read as JSON. The error is a [Reject] where the payload is missing or is not the
// JSON that T expects: trying again could not mend it.
func JSON[T any](message *Message) (T, error) {
	var value T
	return value, message.JSON(&value)
}

// JSON reads the payload into what value points to, with errors as of the function [JSON].
func (m *Message) JSON(value any) error {
	if m.Payload == nil {
		return Reject(fmt.Sprintf("message `%s` has no payload", m.MessageID))
	}
	if err := json.Unmarshal(m.Payload.Bytes(), value); err != nil {
		return Reject(fmt.Sprintf("the payload of message `%s` is not the JSON that this handler expects: %v", m.MessageID, err))
	}
	return nil
}

// Header is the value of the last header with this name, as Kafka's own clients choose among repeated ones. It is nil
// where there is none or its value is null.
func (m *Message) Header(name string) *Data {
	for i := len(m.Headers) - 1; i >= 0; i-- {
		if m.Headers[i].Name == name {
			return m.Headers[i].Value
		}
	}
	return nil
}
