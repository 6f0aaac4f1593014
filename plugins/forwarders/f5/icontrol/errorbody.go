package icontrol

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxErrorBody is how much of a refusal is read.
	maxErrorBody = 64 << 10
	// maxMessage is how much of it is kept.
	maxMessage = 600
)

// refusal reads an answer that is not a success.
func refusal(method string, path Path, status int, contentType string, body []byte) *Error {
	e := &Error{Method: method, Path: path, HTTP: status}
	text := strings.TrimSpace(string(body))
	var fields struct {
		Message  json.RawMessage `json:"message"`
		APIError json.RawMessage `json:"apiError"`
	}
	isJSON := strings.HasPrefix(text, "{") && json.Unmarshal(body, &fields) == nil
	switch {
	case isJSON:
		e.Code, e.Message = splitCode(stringOf(fields.Message))
		// A number of another form says nothing that is used.
		_ = json.Unmarshal(fields.APIError, &e.APIError)
	case strings.Contains(strings.ToLower(contentType), "html"), strings.HasPrefix(text, "<"):
		e.HTML, e.Message = true, pageText(text)
	default:
		e.Message = text
	}
	e.means = classify(e)
	e.Message = shorten(e.Message)
	switch {
	case status >= 300 && status < 400:
		e.Message = "the answer is a redirect, which is not followed: is this the management address of a BIG-IP?"
	case e.Message == "":
		e.Message = "no reason given"
		if text := http.StatusText(status); text != "" {
			e.Message = text + ", no reason given"
		}
	}
	return e
}

// stringOf gives a JSON string's text, of anything else its JSON.
func stringOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// splitCode takes "01020036:3: " off a message. In front of the code of a transaction's
// refused command stand words that stay.
func splitCode(message string) (code, rest string) {
	const prefix, length = "transaction failed:", 8
	words := ""
	rest = message
	if after, ok := strings.CutPrefix(message, prefix); ok {
		words, rest = prefix+" ", strings.TrimSpace(after)
	}
	if len(rest) < length+1 || rest[length] != ':' || strings.Trim(rest[:length], "0123456789abcdefABCDEF") != "" {
		return "", message
	}
	code, rest = strings.ToLower(rest[:length]), rest[length+1:]
	if severity, after, ok := strings.Cut(rest, ":"); ok && len(severity) == 1 && unicode.IsDigit(rune(severity[0])) {
		rest = after
	}
	return code, words + strings.TrimSpace(rest)
}

// pageText gives what a browser would show, roughly.
func pageText(page string) string {
	var b strings.Builder
	for rest := page; rest != ""; {
		before, after, tag := strings.Cut(rest, "<")
		b.WriteString(before)
		if !tag {
			break
		}
		b.WriteByte(' ')
		element := strings.ToLower(after)
		for _, silent := range []string{"script", "style"} {
			if strings.HasPrefix(element, silent) {
				if end := strings.Index(element, "</"+silent); end >= 0 {
					after = after[end:]
				} else {
					after = ""
				}
				break
			}
		}
		_, rest, _ = strings.Cut(after, ">")
	}
	return b.String()
}

// shorten makes one line of a text, not too long.
func shorten(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError {
			return '?'
		}
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s ... (%d more bytes)", text[:cut], len(text)-cut)
}
