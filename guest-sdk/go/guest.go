// Package guest writes a mailroom handler in Go.
//
// A handler takes one message at a time and returns an error or nil. What it published and stored commits in one
// Postgres transaction with the fact that the message is done, or not at all.
//
//	type Order struct {
//		Customer    string `json:"customer"`
//		AmountCents int64  `json:"amount_cents"`
//	}
//
//	func handle(call *guest.Call, message *guest.Message) error {
//		order, err := guest.JSON[Order](message)
//		if err != nil {
//			return err
//		}
//		...
//	}
//
//	func init() {
//		guest.Export(guest.Handler{
//			Subscriptions: []guest.Subscription{{Topics: []string{"orders"}, EventTypes: []string{"order.placed"}}},
//			Handle:        handle,
//		})
//	}
//
//	func main() {}
//
// # How a call ends
//
//	nil                                  completed, and its effects commit
//	guest.Skip("…")                      completed without effects, with the reason
//	guest.Retry{Reason: "…", After: d}   comes again; Uncounted costs no attempt
//	guest.Reject("…")                    a dead letter at once
//	guest.Failure{Message: "…"}          comes again with backoff, after the last attempt a dead letter
//	any other error, or a panic          the same, in its own words with its causes or Go's stack
//
// An ending counts as well where it is wrapped by another error. Effects count only with nil; HTTP requests are none,
// and have happened in any case. The same message may be handled more than once before that: derive new ids from
// [Message.ID], never from the clock or from chance.
package guest

// Handler is what a component offers to the host.
type Handler struct {
	// Subscriptions are the messages that the handler takes. [subscribe] in its manifest overrides them.
	Subscriptions []Subscription
	// Handle takes one delivery of a message.
	Handle func(call *Call, message *Message) error
}

// Subscription is a set of messages that a handler takes. An empty list means any.
type Subscription struct {
	Topics []string
	// EventTypes match by segments: "order.*" takes one more, "order.**" all that follow.
	EventTypes []string
	// Sources match as event types do.
	Sources []string
	// SchemaVersions match by prefix of segments: "1" takes "1.2.3".
	SchemaVersions []string
	// Binary payloads come as bytes. Others come as text, and a payload that is not UTF-8 is quarantined before the
	// handler is called.
	Binary bool
}

// Call is what one call of a handler may reach. It ends with the call.
type Call struct {
	host Host
}

// NewCall is a call on a host of one's own, for tests; see the package guesttest.
func NewCall(host Host) *Call {
	return &Call{host: host}
}

// Host is what a call reaches: the sandbox in a component, guesttest.Host in tests.
type Host interface {
	// Publish errors are of the type *[PublishError].
	Publish(message Outgoing) (string, error)
	// State errors are of the type *[StateError]. A value that was never set is nil.
	GetState(scope Scope, name string) ([]byte, error)
	SetState(scope Scope, name string, value []byte) error
	RemoveState(scope Scope, name string) error
	// StateNames gives at most limit names in byte order after the given one, which may be nil.
	StateNames(scope Scope, prefix string, after *string, limit uint32) ([]string, error)
	// SQL errors are of the type *[SQLError]. Values are nil, bool, int64, float64, string or []byte.
	Query(statement string, params []any) (*Table, error)
	Execute(statement string, params []any) (uint64, error)
	// Config errors are of the type *[ConfigError]. A key without a value is nil.
	Config(key string) (*string, error)
	AllConfig() (map[string]string, error)
	Log(level Level, context, text string)
	// HTTP errors are of the type *[HTTPError].
	HTTP(request Request) (*Response, error)
}
