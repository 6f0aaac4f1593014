package config

import (
	"strings"
	"testing"
)

// What is told of a line with a secret in it says which line, not the secret.
func TestNoProblemTellsASecret(t *testing.T) {
	const secret = "hunter2"
	for _, check := range []string{
		"MISC_CHECK {\nmisc_path \"/bin/check --password " + secret + "\" nobody\n}",
		"MISC_CHECK {\nmisc_path \"/bin/check\t--password=" + secret + "\" nobody\n}",
		"MISC_CHECK {\nmisc_path \"/bin/check --password '" + secret + "\"\n}",
		"SSL_GET {\nurl {\npath /\n}\n}\n}\n}\nSSL {\npassword " + secret + "\n}\nvirtual_server 192.0.2.9 80 {\nreal_server 192.0.2.1 80 {",
	} {
		result := loadText(t, "x.conf", vs("", check), Options{})
		if len(result.Problems) == 0 {
			t.Errorf("nothing is told of %s", check)
		}
		for _, p := range result.Problems {
			if strings.Contains(p.Message, secret) {
				t.Errorf("%s", p)
			}
		}
	}
}
