package guest

import (
	"fmt"
	"math"
	"reflect"
)

// Table is the rows of a query.
type Table struct {
	Columns []string
	Rows    []Row
}

// Row is one row of a table.
type Row struct {
	columns []string
	values  []any
}

// NewTable is a table of values nil, bool, int64, float64, string and []byte, for hosts of one's own.
func NewTable(columns []string, rows ...[]any) *Table {
	table := &Table{Columns: columns}
	for _, values := range rows {
		table.Rows = append(table.Rows, Row{columns, values})
	}
	return table
}

// Query runs a statement in the message's own transaction, as the role that the manifest names with grants.sql, and
// gives its rows. Parameters are nil, booleans, integers, floats, strings and bytes, or pointers to them, of which nil
// is null; other types travel as text and are cast in the statement: "$1::uuid". The host's error is a *[SQLError];
// after one the call can no longer complete: return it.
func (c *Call) Query(statement string, params ...any) (*Table, error) {
	values, err := parameters(params)
	if err != nil {
		return nil, err
	}
	return c.host.Query(statement, values)
}

// Execute runs a statement as [Call.Query] does, and gives the number of rows that it wrote.
func (c *Call) Execute(statement string, params ...any) (uint64, error) {
	values, err := parameters(params)
	if err != nil {
		return 0, err
	}
	return c.host.Execute(statement, values)
}

// SQLError is Postgres' own, or the host's where the manifest does not grant the statement.
type SQLError struct {
	// SQLState is Postgres' five characters.
	SQLState string
	Message  string
}

func (e *SQLError) Error() string {
	return e.Message
}

// Len is the number of values.
func (r Row) Len() int {
	return len(r.values)
}

// Value is the value at a position from 0: nil, bool, int64, float64, string or []byte.
func (r Row) Value(position int) any {
	return r.values[position]
}

// Named is the value of the first column with this name, and false where there is none.
func (r Row) Named(name string) (any, bool) {
	for position, column := range r.columns {
		if column == name {
			return r.values[position], true
		}
	}
	return nil, false
}

// Column is the value of a named column, which has to be of the type T: bool, int64, float64, string, []byte or, where
// it may be null, a pointer to one.
func Column[T any](row Row, name string) (T, error) {
	var value T
	found, ok := row.Named(name)
	if !ok {
		return value, fmt.Errorf("the rows have no column `%s`", name)
	}
	return value, assign(&value, found, name)
}

// Scan copies the values into what the pointers point to, in order of the columns. Their types are bool, integers,
// floats, string, []byte, any, or pointers to those where a value may be null.
func (r Row) Scan(into ...any) error {
	if len(into) != len(r.values) {
		return fmt.Errorf("the row has %d values, and %d were asked for", len(r.values), len(into))
	}
	for position, target := range into {
		if err := assign(target, r.values[position], r.columns[position]); err != nil {
			return err
		}
	}
	return nil
}

func assign(target, value any, column string) error {
	pointer := reflect.ValueOf(target)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() {
		return fmt.Errorf("column `%s` cannot be copied into a %T: it is no pointer", column, target)
	}
	slot := pointer.Elem()
	if value == nil {
		switch slot.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Slice:
			slot.SetZero()
			return nil
		}
		return fmt.Errorf("column `%s` is null, which a %s cannot be", column, slot.Type())
	}
	if slot.Kind() == reflect.Pointer {
		slot.Set(reflect.New(slot.Type().Elem()))
		slot = slot.Elem()
	}
	from := reflect.ValueOf(value)
	switch {
	case from.Type().AssignableTo(slot.Type()):
		slot.Set(from)
	case from.CanInt() && slot.CanInt() && !slot.OverflowInt(from.Int()):
		slot.SetInt(from.Int())
	case from.CanInt() && slot.CanUint() && from.Int() >= 0 && !slot.OverflowUint(uint64(from.Int())):
		slot.SetUint(uint64(from.Int()))
	case from.CanFloat() && slot.CanFloat():
		slot.SetFloat(from.Float())
	case from.Kind() == slot.Kind() && from.Type().ConvertibleTo(slot.Type()):
		slot.Set(from.Convert(slot.Type()))
	default:
		return fmt.Errorf("column `%s` is the %T %v, which does not fit into a %s", column, value, value, slot.Type())
	}
	return nil
}

func parameters(params []any) ([]any, error) {
	values := make([]any, len(params))
	for i, param := range params {
		value, err := parameter(param)
		if err != nil {
			return nil, fmt.Errorf("parameter $%d: %w", i+1, err)
		}
		values[i] = value
	}
	return values, nil
}

func parameter(param any) (any, error) {
	if param == nil {
		return nil, nil
	}
	value := reflect.ValueOf(param)
	if value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return nil, nil
		}
		value = value.Elem()
	}
	switch {
	case value.Kind() == reflect.Bool:
		return value.Bool(), nil
	case value.CanInt():
		return value.Int(), nil
	case value.CanUint() && value.Uint() <= math.MaxInt64:
		return int64(value.Uint()), nil
	case value.CanFloat():
		return value.Float(), nil
	case value.Kind() == reflect.String:
		return value.String(), nil
	case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8:
		if value.IsNil() {
			return nil, nil
		}
		return value.Bytes(), nil
	}
	return nil, fmt.Errorf("the %T %v is no SQL value: write it as text and cast it in the statement", param, param)
}
