package guest

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// Skip is an error by which the message is completed without effects, with this reason.
type Skip string

func (s Skip) Error() string {
	return string(s)
}

// Reject is an error by which the message is a dead letter at once, with this reason: it can never succeed.
type Reject string

func (r Reject) Error() string {
	return string(r)
}

// Retry is an error by which the message comes again.
type Retry struct {
	Reason string
	// After this delay, to the millisecond; 0 leaves it to the handler's backoff.
	After time.Duration
	// Uncounted costs no attempt. The host bounds how long this can go on.
	Uncounted bool
}

func (r Retry) Error() string {
	return r.Reason
}

// Failure is an error that counts, and is tried again until the attempts are used up.
type Failure struct {
	Message string
	// Code is a stable name by which dead letters are grouped, for example "out-of-stock"; "" for none.
	Code string
	// Detail for whoever looks into it; the host cuts it. "" for none.
	Detail string
}

func (f Failure) Error() string {
	return f.Message
}

// Handled is what a call of the handler comes to for the host: nil where it is completed, else a Skip, Reject, Retry
// or Failure.
func (h Handler) Handled(call *Call, message *Message) (ending error) {
	defer func() {
		if value := recover(); value != nil {
			ending = Failure{Message: fmt.Sprint(value), Detail: panicStack(string(debug.Stack()))}
		}
	}()
	return endingOf(h.Handle(call, message))
}

func endingOf(err error) error {
	if err == nil {
		return nil
	}
	words := err.Error()
	if _, ok := errors.AsType[Skip](err); ok {
		return Skip(words)
	}
	if _, ok := errors.AsType[Reject](err); ok {
		return Reject(words)
	}
	if retry, ok := errors.AsType[Retry](err); ok {
		retry.Reason = words
		return retry
	}
	if failure, ok := errors.AsType[Failure](err); ok {
		failure.Message = words
		return failure
	}
	return Failure{Message: words, Detail: strings.Join(causes(err, nil), "\n")}
}

// causes are the errors that an error wraps, one a line.
func causes(err error, lines []string) []string {
	var wrapped []error
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		wrapped = []error{err.Unwrap()}
	case interface{ Unwrap() []error }:
		wrapped = err.Unwrap()
	}
	for _, cause := range wrapped {
		if cause != nil {
			lines = causes(cause, append(lines, "caused by: "+cause.Error()))
		}
	}
	return lines
}

// panicStack leaves out how the panic was caught, so that the line that panicked comes first.
func panicStack(stack string) string {
	if _, after, found := strings.Cut(stack, "\npanic("); found {
		// The function and the file of the panic itself are two lines.
		lines := strings.SplitN(after, "\n", 3)
		return lines[len(lines)-1]
	}
	return stack
}
