package guest

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The collector asks for the time of day, and the host cannot answer while it writes into this component's memory: a
// collection in there would be a trap. So it runs only while this package's or the author's code does.

func init() {
	debug.SetGCPercent(collectorOff)
}

const (
	collectorOff = -1
	collectorOn  = 100
	// garbageMax is how many bytes may be allocated before the next collection by hand.
	garbageMax = 4 << 20
)

var (
	allocated = []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	collected uint64
)

// collecting switches the collector on until the function that it gives is called.
func collecting() (end func()) {
	switchOn()
	return switchOff
}

// quiet calls a function of the host, whose results the host writes into this component's memory.
func quiet[T any](call func() T) T {
	switchOff()
	defer switchOn()
	return call()
}

// switchOn collects by hand what many calls left behind. Each switch postpones the next collection while the last one is
// not swept, and only runtime.GC sweeps all: without it memory would grow with the calls.
func switchOn() {
	if metrics.Read(allocated); allocated[0].Value.Uint64()-collected >= garbageMax {
		runtime.GC()
		collected = allocated[0].Value.Uint64()
	}
	debug.SetGCPercent(collectorOn)
}

// switchOff waits for a collection that is under way.
func switchOff() {
	debug.SetGCPercent(collectorOff)
}
