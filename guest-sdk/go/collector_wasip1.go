package guest

import "runtime/debug"

// The collector asks for the time of day, and the host cannot answer while it writes into this component's memory: a
// collection in there would be a trap. So it runs only while this package's or the author's code does.

func init() {
	debug.SetGCPercent(collectorOff)
}

const (
	collectorOff = -1
	collectorOn  = 100
)

// collecting switches the collector on until the function that it gives is called. Switching off waits for a
// collection that is under way.
func collecting() (end func()) {
	debug.SetGCPercent(collectorOn)
	return func() { debug.SetGCPercent(collectorOff) }
}

// quiet calls a function of the host, whose results the host writes into this component's memory.
func quiet[T any](call func() T) T {
	debug.SetGCPercent(collectorOff)
	defer debug.SetGCPercent(collectorOn)
	return call()
}
