// Package export_mailroom_contract_handler is what the generated exports call, by the name that they have for it.
package export_mailroom_contract_handler

import (
	"mailroom/guest/internal/abi/types"
	"mailroom/guest/internal/bindings/mailroom_contract_types"
)

// Subscriptions and Handle are set by the package guest, which this one cannot import.
var (
	Subscriptions func() []mailroom_contract_types.Subscription
	Handle        func(mailroom_contract_types.Message) wit_types.Result[mailroom_contract_types.Outcome, mailroom_contract_types.Failure]
)
