package guest

// Config is a value that the operator set in [handler-config] and that the manifest grants with grants.config. It
// stays the same while the host runs, and may be a secret. The error is a *[ConfigError], also where the key has no
// value.
func (c *Call) Config(key string) (string, error) {
	value, err := c.host.Config(key)
	if err != nil {
		return "", err
	}
	if value == nil {
		return "", &ConfigError{"the configuration key " + key + " has no value"}
	}
	return *value, nil
}

// AllConfig is all values that are granted, by key. The error is a *[ConfigError].
func (c *Call) AllConfig() (map[string]string, error) {
	return c.host.AllConfig()
}

// ConfigError is the reason for which a value could not be read, in the host's words.
type ConfigError struct {
	Reason string
}

func (e *ConfigError) Error() string {
	return e.Reason
}
