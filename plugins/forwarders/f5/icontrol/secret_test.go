package icontrol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

// TestNoSecrets: whatever a device sends back, neither errors nor logs nor printed values
// have the password or a token in them.
func TestNoSecrets(t *testing.T) {
	escaped, _ := json.Marshal(password)
	leaks := func(text string) string {
		for _, secret := range []string{password, strings.Trim(string(escaped), `"`), "s3cr%22et%26w%C3%B6rd", "TOKEN0"} {
			if strings.Contains(text, secret) {
				return secret
			}
		}
		return ""
	}
	var mu sync.Mutex
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))

	// echo repeats all that was sent, in a form.
	echo := map[string]func(w http.ResponseWriter, all string){
		"message":    func(w http.ResponseWriter, all string) { refuse(w, 400, all, 1) },
		"401":        func(w http.ResponseWriter, all string) { refuse(w, 401, all, 1) },
		"503":        func(w http.ResponseWriter, all string) { refuse(w, 503, all, 1) },
		"page":       func(w http.ResponseWriter, all string) { page(w, 503, "<html>"+all) },
		"text":       func(w http.ResponseWriter, all string) { w.WriteHeader(404); fmt.Fprint(w, all) },
		"success":    func(w http.ResponseWriter, all string) { fmt.Fprint(w, all) },
		"wrong type": func(w http.ResponseWriter, all string) { answer(w, all) },
		"a fragment": func(w http.ResponseWriter, all string) { answer(w, map[string]any{"token": all, "transId": all}) },
		"bad status": func(w http.ResponseWriter, all string) {
			connection, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer connection.Close()
			fmt.Fprintf(connection, "HTTP/1.1 %s\r\n\r\n", strings.ReplaceAll(all, "\n", " "))
		},
	}
	for name, form := range echo {
		for _, everything := range []bool{true, false} {
			u := withPool(t)
			c := u.client(t, func(o *icontrol.Options) { o.Logger = logger })
			if !everything {
				get(t, c, "web")
			}
			u.set(func() {
				u.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
					form(w, string(body)+" "+password+" "+r.Header.Get("X-F5-Auth-Token")+" "+r.URL.Path)
					return true
				}
			})
			var out struct{ Name int }
			errs := []error{
				c.Get(t.Context(), named("web"), nil, &out), c.Post(t.Context(), pools, poolBody("x"), &out),
				c.Patch(t.Context(), named("web"), map[string]any{"a": 1}, &out), c.Delete(t.Context(), named("web")),
				c.Save(t.Context()),
			}
			_, err := c.Begin(t.Context())
			errs = append(errs, err, c.Close(t.Context()))
			for _, err := range errs {
				for ; err != nil; err = errors.Unwrap(err) {
					if secret := leaks(fmt.Sprintf("%v %+v %#v", err, err, err)); secret != "" {
						t.Errorf("%s: %q is in %v", name, secret, err)
					}
				}
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if secret := leaks(logged.String()); secret != "" {
		t.Errorf("%q is in the log:\n%s", secret, logged.String())
	}
	if !strings.Contains(logged.String(), "logging in again") {
		t.Errorf("the log was not written:\n%s", logged.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func TestPrintedValues(t *testing.T) {
	options := icontrol.Options{Address: "192.0.2.1", Username: "u", Password: password}
	c, err := icontrol.New(options)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(struct{ P icontrol.Secret }{options.Password})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(encoded)}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		texts = append(texts, fmt.Sprintf(form, options), fmt.Sprintf(form, c), fmt.Sprintf(form, *c), fmt.Sprintf(form, options.Password))
	}
	for _, text := range texts {
		if strings.Contains(text, "s3cr") || strings.Contains(text, fmt.Sprintf("%x", password)) {
			t.Errorf("the password is in %s", text)
		}
	}
}
