package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// old is a process that runs something and may be asked for it.
func old(t *testing.T, dir string, state any) <-chan error {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	given := make(chan error, 1)
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		select {
		case request := <-l.Asked():
			given <- request.Give(state)
		case <-l.done:
		}
	}()
	return given
}

func TestHandOver(t *testing.T) {
	for name, dir := range map[string]string{"short": t.TempDir(), "long": filepath.Join(t.TempDir(), strings.Repeat("d", 120))} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			given := old(t, dir, map[string]int{"groups": 3})
			p, err := Ask(dir)
			if err != nil {
				t.Fatal(err)
			}
			var state map[string]int
			if err := p.State(&state); err != nil || state["groups"] != 3 {
				t.Fatalf("state %v, %v", state, err)
			}
			select {
			case err := <-given:
				t.Fatalf("given before it was taken: %v", err)
			default:
			}
			if err := p.Take(); err != nil {
				t.Fatal(err)
			}
			if err := <-given; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNobodyIsThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := Ask(dir); !errors.Is(err, ErrNobody) {
		t.Errorf("no socket: %v", err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l.Close()
	if _, err := Ask(dir); !errors.Is(err, ErrNobody) {
		t.Errorf("a socket nobody listens at: %v", err)
	}
	if l, err = Listen(dir); err != nil {
		t.Fatalf("listen in the place of a dead one: %v", err)
	}
	l.Close()
}

// TestTheOldOneGoesOn: whatever the successor does but confirm, Give fails, and the
// successor cannot have been released.
func TestTheOldOneGoesOn(t *testing.T) {
	for name, act := range map[string]func(p *Predecessor) error{
		"gives up":       func(p *Predecessor) error { p.close(); return nil },
		"says nothing":   func(*Predecessor) error { return nil },
		"talks nonsense": func(p *Predecessor) error { return write(p.conn, ask, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			given := old(t, dir, 1)
			p, err := Ask(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if err := act(p); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-given:
				if err == nil {
					t.Error("given")
				}
			case <-time.After(2 * time.Second):
				t.Fatal("the old one stands still for good")
			}
			if name == "says nothing" {
				if err := p.Take(); err == nil {
					t.Error("taken too late, and released")
				}
			}
		})
	}
}

// TestTheNewOneDoesNotAct: whatever the old one does but release, Take fails.
func TestTheNewOneDoesNotAct(t *testing.T) {
	for name, act := range map[string]func(io.ReadWriter){
		"hangs up when asked":      func(io.ReadWriter) {},
		"hangs up after the offer": func(c io.ReadWriter) { write(c, offer, []byte("1")) },
		"offers twice": func(c io.ReadWriter) {
			write(c, offer, []byte("1"))
			read(c, confirm)
			write(c, offer, []byte("1"))
		},
		"says nothing": func(c io.ReadWriter) { read(c, confirm) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := net.Listen("unix", Path(dir))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(2 * time.Second))
				read(conn, ask)
				act(conn)
			}()
			p, err := Ask(dir)
			if err == nil {
				err = p.Take()
			}
			if err == nil || errors.Is(err, ErrNobody) {
				t.Errorf("took over: %v", err)
			}
			l.Close()
			<-done
		})
	}
}

func TestOneWhoDoesNotAskIsNotPassedOn(t *testing.T) {
	dir := t.TempDir()
	given := old(t, dir, 1)
	conn, err := net.Dial("unix", Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
	select {
	case err := <-given:
		t.Errorf("asked: %v", err)
	default:
	}
}

func FuzzRead(f *testing.F) {
	var good bytes.Buffer
	if err := write(&good, offer, []byte(`{"a":1}`)); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0, 0, 0, 1, '{'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		state, err := read(bytes.NewReader(b), offer)
		if err == nil && len(state) > 0 && !json.Valid(state) {
			t.Errorf("%q is read as %q", b, state)
		}
	})
}
