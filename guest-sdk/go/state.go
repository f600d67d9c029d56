package guest

import (
	"encoding/json"
	"fmt"
	"iter"
)

// Scope tells whose state it is.
type Scope uint8

const (
	// KeyedScope is the state of this handler and this message's key.
	KeyedScope Scope = iota
	// SharedScope is the state of this handler, whatever the key.
	SharedScope
)

// State is the named values of one scope. A write is buffered by the host: it commits with the call, and is dropped
// where the call does not complete. A call sees its own writes and those of earlier messages of its key. All errors
// of the host are of the type *[StateError].
type State struct {
	host  Host
	scope Scope
}

// Keyed is the state of this handler and this message's key. Calls of one key never race for it.
func (c *Call) Keyed() State {
	return State{c.host, KeyedScope}
}

// Shared is the state of this handler. Calls may race for it: one that loses is run again at no cost in attempts.
func (c *Call) Shared() State {
	return State{c.host, SharedScope}
}

// Get is the value of a name, read as JSON, or the zero value of T where it was never set.
func Get[T any](state State, name string) (T, error) {
	var value T
	_, err := state.Get(name, &value)
	return value, err
}

// Get reads the value of a name as JSON into what value points to, and tells whether it was ever set.
func (s State) Get(name string, value any) (bool, error) {
	bytes, err := s.GetBytes(name)
	if err != nil || bytes == nil {
		return false, err
	}
	if err := json.Unmarshal(bytes, value); err != nil {
		return true, fmt.Errorf("the value of `%s` is not the JSON that this handler expects: %w", name, err)
	}
	return true, nil
}

// Set writes value as JSON.
func (s State) Set(name string, value any) error {
	bytes, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("the value of `%s` cannot be written as JSON: %w", name, err)
	}
	return s.SetBytes(name, bytes)
}

// GetBytes is the value of a name as it is stored, nil where it was never set.
func (s State) GetBytes(name string) ([]byte, error) {
	return s.host.GetState(s.scope, name)
}

// SetBytes writes bytes as they are.
func (s State) SetBytes(name string, value []byte) error {
	return s.host.SetState(s.scope, name, value)
}

// Remove removes a name. One that was never set is no error.
func (s State) Remove(name string) error {
	return s.host.RemoveState(s.scope, name)
}

const namesPage = 1000

// Names are the names that begin with prefix, in byte order. An error ends them.
func (s State) Names(prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var after *string
		for {
			names, err := s.host.StateNames(s.scope, prefix, after, namesPage)
			if err != nil {
				yield("", err)
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			if len(names) < namesPage {
				return
			}
			after = &names[len(names)-1]
		}
	}
}

// StateError is the reason for which state could not be read or written.
type StateError struct {
	// Kind is NotGranted, NoKey, InvalidName, TooLarge or TooMany.
	Kind ErrorKind
	// Name that was asked for.
	Name string
	// Limit in bytes where TooLarge, in names where TooMany.
	Limit uint64
	// Reason in the host's words where InvalidName.
	Reason string
}

func (e *StateError) Error() string {
	switch e.Kind {
	case NotGranted:
		return "this handler may not use state: say `state = true` under `[grants]` in its manifest"
	case NoKey:
		return fmt.Sprintf("`%s` is keyed state, and this message has no key: use shared state or produce with a key", e.Name)
	case TooLarge:
		return fmt.Sprintf("the value of `%s` is larger than the %d bytes that are allowed", e.Name, e.Limit)
	case TooMany:
		return fmt.Sprintf("`%s` is one more than the %d names that are allowed", e.Name, e.Limit)
	}
	return fmt.Sprintf("`%s` cannot be a name in state: %s", e.Name, e.Reason)
}
