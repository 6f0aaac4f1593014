package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

func jsonPositions(data []byte) (map[string]int, []lineError, error) {
	p := &positions{lines: map[string]int{}}
	w := &jsonWalk{positions: p, data: data, decoder: json.NewDecoder(bytes.NewReader(data)), line: 1}
	err := w.value("")
	if err == nil {
		if _, err = w.decoder.Token(); errors.Is(err, io.EOF) {
			return p.lines, p.problems, nil
		}
		if err == nil {
			err = errors.New("something stands behind the end of the document")
		}
	}
	line := w.at()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line = 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
	}
	return nil, nil, lineError{line, err.Error()}
}

// jsonWalk notes the line of every value as the decoder passes it.
type jsonWalk struct {
	*positions
	data    []byte
	decoder *json.Decoder
	// counted bytes of data are before line.
	counted int
	line    int
}

// at is the line of the token that was read last.
func (w *jsonWalk) at() int {
	offset := min(int(w.decoder.InputOffset()), len(w.data))
	w.line += bytes.Count(w.data[w.counted:offset], []byte("\n"))
	w.counted = offset
	return w.line
}

func (w *jsonWalk) value(pointer string) error {
	t, err := w.decoder.Token()
	if err != nil {
		return err
	}
	if _, ok := w.lines[pointer]; !ok {
		w.lines[pointer] = w.at()
	}
	switch t {
	case json.Delim('['):
		for i := 0; w.decoder.More(); i++ {
			if err := w.value(pointer + "/" + strconv.Itoa(i)); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		for w.decoder.More() {
			if err := w.member(pointer); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = w.decoder.Token()
	return err
}

func (w *jsonWalk) member(pointer string) error {
	t, err := w.decoder.Token()
	if err != nil {
		return err
	}
	key, ok := t.(string)
	if !ok {
		return errors.New("a key has to be a string")
	}
	child := pointer + "/" + escape(key)
	if _, ok := w.lines[child]; ok {
		w.problem(w.at(), "the key %s stands twice", key)
	}
	w.lines[child] = w.at()
	return w.value(child)
}
