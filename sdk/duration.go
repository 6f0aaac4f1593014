package sdk

import "time"

// Duration is a time in parameters, written as text: "10ms", "3s", "1m30s".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return Errorf("", "must be a time like 10ms, 3s or 1m30s, not %q", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes it so that it can be read back.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }
