package guest

import (
	"time"

	abi "mailroom/guest/internal/abi/types"
	wire "mailroom/guest/internal/bindings/mailroom_contract_types"
	_ "mailroom/guest/internal/bindings/wit_exports"
	exports "mailroom/guest/internal/exports/export_mailroom_contract_handler"
)

// Export makes a handler the one of this component, from the init function of the package main.
func Export(handler Handler) {
	exports.Subscriptions = func() []wire.Subscription {
		defer collecting()()
		subscriptions := make([]wire.Subscription, len(handler.Subscriptions))
		for i, subscription := range handler.Subscriptions {
			subscriptions[i] = wire.Subscription{
				Topics:         subscription.Topics,
				EventTypes:     subscription.EventTypes,
				Sources:        subscription.Sources,
				SchemaVersions: subscription.SchemaVersions,
			}
			if subscription.Binary {
				subscriptions[i].Form = wire.FormBinary
			}
		}
		return subscriptions
	}
	exports.Handle = func(message wire.Message) abi.Result[wire.Outcome, wire.Failure] {
		defer collecting()()
		return answer(handler.Handled(&Call{sandbox{}}, fromWire(message)))
	}
}

func answer(ending error) abi.Result[wire.Outcome, wire.Failure] {
	ok := abi.Ok[wire.Outcome, wire.Failure]
	switch ending := ending.(type) {
	case nil:
		return ok(wire.MakeOutcomeCompleted())
	case Skip:
		return ok(wire.MakeOutcomeSkipped(valid(string(ending))))
	case Reject:
		return ok(wire.MakeOutcomeRejected(valid(string(ending))))
	case Retry:
		retry := wire.Retry{Reason: valid(ending.Reason), Counts: !ending.Uncounted}
		if ending.After > 0 {
			retry.AfterMs = abi.Some(uint64(ending.After / time.Millisecond))
		}
		return ok(wire.MakeOutcomeRetry(retry))
	case Failure:
		return abi.Err[wire.Outcome](wire.Failure{
			Message: valid(ending.Message), Code: someText(ending.Code), Detail: someText(ending.Detail),
		})
	default:
		return abi.Err[wire.Outcome](wire.Failure{Message: valid(ending.Error())})
	}
}

func fromWire(message wire.Message) *Message {
	headers := make([]Header, len(message.Headers))
	for i, header := range message.Headers {
		headers[i] = Header{header.Name, fromData(header.Value)}
	}
	return &Message{
		ID:            message.Id,
		MessageID:     message.MessageId,
		EventType:     message.EventType,
		Source:        message.Source,
		SchemaVersion: pointer(message.SchemaVersion),
		Position:      Position(message.Position),
		Key:           fromData(message.Key),
		Payload:       fromData(message.Payload),
		ContentType:   pointer(message.ContentType),
		Headers:       headers,
		ProducedAt:    time.UnixMilli(message.ProducedAtMs).UTC(),
		CorrelationID: pointer(message.CorrelationId),
		CausationID:   pointer(message.CausationId),
		Traceparent:   pointer(message.Traceparent),
		Attempt:       message.Attempt,
		MaxAttempts:   message.MaxAttempts,
		Delivery:      message.Delivery,
	}
}

func fromData(data abi.Option[wire.Data]) *Data {
	if data.IsNone() {
		return nil
	}
	if data := data.Some(); data.Tag() == wire.DataText {
		return Text(data.Text())
	} else {
		return Bytes(data.Binary())
	}
}

// toData sends text that is not UTF-8 as bytes: the host refuses strings that are not.
func toData(data *Data) abi.Option[wire.Data] {
	if data == nil {
		return abi.None[wire.Data]()
	}
	if text, ok := data.Text(); ok && !data.binary && text == valid(text) {
		return abi.Some(wire.MakeDataText(text))
	}
	return abi.Some(wire.MakeDataBinary(data.Bytes()))
}

func pointer[T any](option abi.Option[T]) *T {
	if option.IsNone() {
		return nil
	}
	value := option.Some()
	return &value
}

func someText(text string) abi.Option[string] {
	if text == "" {
		return abi.None[string]()
	}
	return abi.Some(valid(text))
}
