package handover

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// version of the protocol; another one is refused, and the records are used.
const version = 1

// maxFrame bounds a message: some kB for each group.
const maxFrame = 16 << 20

// Kinds of messages.
const (
	ask      = "ask"
	offer    = "offer"
	confirm  = "confirm"
	released = "released"
)

// message is what goes over the socket, as JSON behind its length in four bytes.
type message struct {
	Version int             `json:"version"`
	Kind    string          `json:"kind"`
	State   json.RawMessage `json:"state,omitempty"`
}

func write(w io.Writer, kind string, state json.RawMessage) error {
	body, err := json.Marshal(message{version, kind, state})
	if err == nil {
		_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	}
	if err != nil {
		return fmt.Errorf("send %q: %w", kind, err)
	}
	return nil
}

// read reads a message of a kind.
func read(r io.Reader, kind string) (json.RawMessage, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("wait for %q: %w", kind, err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, fmt.Errorf("wait for %q: a message of %d bytes is too long", kind, n)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil || len(body) < int(n) {
		return nil, fmt.Errorf("wait for %q: %d of %d bytes came: %w", kind, len(body), n, orEOF(err))
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("wait for %q: %w", kind, err)
	}
	if m.Version != version || m.Kind != kind {
		return nil, fmt.Errorf("wait for %q of version %d: %q of version %d came", kind, version, m.Kind, m.Version)
	}
	return m.State, nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
