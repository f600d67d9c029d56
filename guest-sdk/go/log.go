package guest

import "fmt"

// Level is a level of the host's log.
type Level uint8

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
	Critical
)

func (l Level) String() string {
	names := [...]string{"trace", "debug", "info", "warn", "error", "critical"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// Log writes a line of the host's log with a context, any word by which lines belong together. It is written at once,
// and again where the message is handled again. Lines beyond the level that the manifest grants with grants.log are
// dropped. A call that logs more than limits.log-lines ends there.
func (c *Call) Log(level Level, context, text string) {
	c.host.Log(level, context, text)
}

// Tracef logs each step.
func (c *Call) Tracef(format string, args ...any) {
	c.Log(Trace, "", fmt.Sprintf(format, args...))
}

// Debugf logs how something was done.
func (c *Call) Debugf(format string, args ...any) {
	c.Log(Debug, "", fmt.Sprintf(format, args...))
}

// Infof logs what was done.
func (c *Call) Infof(format string, args ...any) {
	c.Log(Info, "", fmt.Sprintf(format, args...))
}

// Warnf logs what may go wrong.
func (c *Call) Warnf(format string, args ...any) {
	c.Log(Warn, "", fmt.Sprintf(format, args...))
}

// Errorf logs what went wrong.
func (c *Call) Errorf(format string, args ...any) {
	c.Log(Error, "", fmt.Sprintf(format, args...))
}

// Criticalf logs what nobody may overlook.
func (c *Call) Criticalf(format string, args ...any) {
	c.Log(Critical, "", fmt.Sprintf(format, args...))
}
