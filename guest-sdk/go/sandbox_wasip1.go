package guest

import (
	"strings"
	"time"

	abi "mailroom/guest/internal/abi/types"
	"mailroom/guest/internal/bindings/mailroom_contract_outbox"
	"mailroom/guest/internal/bindings/mailroom_contract_sql"
	"mailroom/guest/internal/bindings/mailroom_contract_state"
	wire "mailroom/guest/internal/bindings/mailroom_contract_types"
	"mailroom/guest/internal/bindings/wasi_config_store"
	"mailroom/guest/internal/bindings/wasi_logging_logging"
)

// sandbox is the host of a component.
type sandbox struct{}

// valid is text that the host takes: a string that is not UTF-8 would be a trap.
func valid(text string) string {
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (sandbox) Publish(message Outgoing) (string, error) {
	headers := make([]wire.Header, len(message.Headers))
	for i, header := range message.Headers {
		headers[i] = wire.Header{Name: valid(header.Name), Value: toData(header.Value)}
	}
	outgoing := mailroom_contract_outbox.Outgoing{
		Topic:          valid(message.Topic),
		EventType:      valid(message.EventType),
		Key:            toData(message.Key),
		Payload:        toData(message.Payload),
		ContentType:    someText(message.ContentType),
		Headers:        headers,
		SchemaVersion:  someText(message.SchemaVersion),
		IdempotencyKey: someText(message.IdempotencyKey),
	}
	if message.Delay > 0 {
		outgoing.DelayMs = abi.Some(uint64(message.Delay / time.Millisecond))
	}
	result := quiet(func() abi.Result[string, mailroom_contract_outbox.PublishError] {
		return mailroom_contract_outbox.Publish(outgoing)
	})
	if result.IsOk() {
		return result.Ok(), nil
	}
	refused := &PublishError{Topic: message.Topic}
	switch err := result.Err(); err.Tag() {
	case mailroom_contract_outbox.PublishErrorNotGranted:
		refused.Kind = NotGranted
	case mailroom_contract_outbox.PublishErrorTooLarge:
		refused.Kind, refused.Limit = TooLarge, err.TooLarge()
	case mailroom_contract_outbox.PublishErrorTooMany:
		refused.Kind, refused.Limit = TooMany, uint64(err.TooMany())
	default:
		refused.Kind, refused.Reason = Invalid, err.Invalid()
	}
	return "", refused
}

// state turns the host's answer about a name into Go's.
func state[T any](name string, ask func() abi.Result[T, mailroom_contract_state.StateError]) (value T, err error) {
	result := quiet(ask)
	if result.IsOk() {
		return result.Ok(), nil
	}
	refused := &StateError{Name: name}
	switch err := result.Err(); err.Tag() {
	case mailroom_contract_state.StateErrorNotGranted:
		refused.Kind = NotGranted
	case mailroom_contract_state.StateErrorNoKey:
		refused.Kind = NoKey
	case mailroom_contract_state.StateErrorTooLarge:
		refused.Kind, refused.Limit = TooLarge, err.TooLarge()
	case mailroom_contract_state.StateErrorTooMany:
		refused.Kind, refused.Limit = TooMany, uint64(err.TooMany())
	default:
		refused.Kind, refused.Reason = InvalidName, err.InvalidName()
	}
	return value, refused
}

func (sandbox) GetState(scope Scope, name string) ([]byte, error) {
	value, err := state(name, func() abi.Result[abi.Option[[]uint8], mailroom_contract_state.StateError] {
		return mailroom_contract_state.Get(uint8(scope), valid(name))
	})
	if err != nil || value.IsNone() {
		return nil, err
	}
	if bytes := value.Some(); bytes != nil {
		return bytes, nil
	}
	return []byte{}, nil
}

func (sandbox) SetState(scope Scope, name string, value []byte) error {
	_, err := state(name, func() abi.Result[abi.Unit, mailroom_contract_state.StateError] {
		return mailroom_contract_state.Set(uint8(scope), valid(name), value)
	})
	return err
}

func (sandbox) RemoveState(scope Scope, name string) error {
	_, err := state(name, func() abi.Result[abi.Unit, mailroom_contract_state.StateError] {
		return mailroom_contract_state.Remove(uint8(scope), valid(name))
	})
	return err
}

func (sandbox) StateNames(scope Scope, prefix string, after *string, limit uint32) ([]string, error) {
	behind := abi.None[string]()
	if after != nil {
		behind = abi.Some(*after)
	}
	return state(prefix, func() abi.Result[[]string, mailroom_contract_state.StateError] {
		return mailroom_contract_state.Names(uint8(scope), valid(prefix), behind, limit)
	})
}

func (sandbox) Query(statement string, params []any) (*Table, error) {
	values := toValues(params)
	result := quiet(func() abi.Result[mailroom_contract_sql.Table, mailroom_contract_sql.SqlError] {
		return mailroom_contract_sql.Query(valid(statement), values)
	})
	if result.IsErr() {
		return nil, fromSQLError(result.Err())
	}
	found := result.Ok()
	rows := make([][]any, len(found.Rows))
	for i, row := range found.Rows {
		rows[i] = make([]any, len(row))
		for j, value := range row {
			rows[i][j] = fromValue(value)
		}
	}
	return NewTable(found.Columns, rows...), nil
}

func (sandbox) Execute(statement string, params []any) (uint64, error) {
	values := toValues(params)
	result := quiet(func() abi.Result[uint64, mailroom_contract_sql.SqlError] {
		return mailroom_contract_sql.Execute(valid(statement), values)
	})
	if result.IsErr() {
		return 0, fromSQLError(result.Err())
	}
	return result.Ok(), nil
}

func fromSQLError(err mailroom_contract_sql.SqlError) error {
	return &SQLError{err.Sqlstate, err.Message}
}

func fromValue(value mailroom_contract_sql.Value) any {
	switch value.Tag() {
	case mailroom_contract_sql.ValueBoolean:
		return value.Boolean()
	case mailroom_contract_sql.ValueInteger:
		return value.Integer()
	case mailroom_contract_sql.ValueFloat:
		return value.Float()
	case mailroom_contract_sql.ValueText:
		return value.Text()
	case mailroom_contract_sql.ValueBytes:
		return value.Bytes()
	}
	return nil
}

func toValues(params []any) []mailroom_contract_sql.Value {
	values := make([]mailroom_contract_sql.Value, len(params))
	for i, param := range params {
		switch param := param.(type) {
		case bool:
			values[i] = mailroom_contract_sql.MakeValueBoolean(param)
		case int64:
			values[i] = mailroom_contract_sql.MakeValueInteger(param)
		case float64:
			values[i] = mailroom_contract_sql.MakeValueFloat(param)
		case string:
			values[i] = mailroom_contract_sql.MakeValueText(valid(param))
		case []byte:
			values[i] = mailroom_contract_sql.MakeValueBytes(param)
		default:
			values[i] = mailroom_contract_sql.MakeValueNull()
		}
	}
	return values
}

func (sandbox) Config(key string) (*string, error) {
	result := quiet(func() abi.Result[abi.Option[string], wasi_config_store.Error] {
		return wasi_config_store.Get(valid(key))
	})
	if result.IsErr() {
		return nil, fromConfigError(result.Err())
	}
	return pointer(result.Ok()), nil
}

func (sandbox) AllConfig() (map[string]string, error) {
	result := quiet(wasi_config_store.GetAll)
	if result.IsErr() {
		return nil, fromConfigError(result.Err())
	}
	values := make(map[string]string)
	for _, value := range result.Ok() {
		values[value.F0] = value.F1
	}
	return values, nil
}

func fromConfigError(err wasi_config_store.Error) error {
	if err.Tag() == wasi_config_store.ErrorUpstream {
		return &ConfigError{err.Upstream()}
	}
	return &ConfigError{err.Io()}
}

func (sandbox) Log(level Level, context, text string) {
	wasi_logging_logging.Log(uint8(level), valid(context), valid(text))
}
