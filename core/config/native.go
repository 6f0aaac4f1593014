package config
func loadNative(d *draft, path, format string) {}
