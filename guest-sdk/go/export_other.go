//go:build !wasip1

package guest

// Export makes a handler the one of this component, from the init function of the package main. Outside of a
// component, in tests, it does nothing.
func Export(Handler) {}
