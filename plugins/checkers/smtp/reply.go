package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// room is keepalived's buffer: a reply that fills it is no good.
	room = 512
	// maxLines bounds a reply of several lines.
	maxLines = 100
	// quoted bounds what a reason shows of a line.
	quoted = 80
)

// reader reads replies.
type reader struct {
	conn io.Reader
	buf  [room]byte
	n    int
}

// reply reads one reply and says what is wrong with it; an empty code takes any line.
// saw is told each line.
func (r *reader) reply(code string, multiline bool, saw func(string)) error {
	// What the server sent beyond the last reply, before it was asked, does not count.
	r.n = 0
	for range maxLines {
		text, err := r.line(multiline)
		if errors.Is(err, errLong) && code == "" {
			saw(text)
			return nil
		}
		if err != nil {
			return err
		}
		saw(text)
		more, err := judge(text, code, multiline)
		if err != nil || !more {
			return err
		}
	}
	return fmt.Errorf("more than %d lines", maxLines)
}

var errLong = fmt.Errorf("more than %d bytes without an end", room-1)

// line reads a line and gives it without its end. What came with it stays, and counts as
// part of it unless replies may have several lines.
func (r *reader) line(several bool) (string, error) {
	for {
		text, rest, found, err := cut(r.buf[:r.n])
		switch {
		case err != nil:
			return "", err
		case r.n == room && (!several || !found):
			return string(r.buf[:quoted]), errLong
		case found:
			r.n = copy(r.buf[:], rest)
			return text, nil
		}
		n, err := r.conn.Read(r.buf[r.n:])
		r.n += n
		switch {
		case n > 0:
		case errors.Is(err, io.EOF) && r.n == 0:
			return "", errors.New("the server closed the connection")
		case errors.Is(err, io.EOF):
			return "", fmt.Errorf("the server closed the connection within a line, after %s", shown(string(r.buf[:r.n])))
		case err != nil:
			return "", err
		}
	}
}

// cut gives the first line without its line feed, if there is one. A NUL byte in it is an
// error: keepalived never finds the end of such a line.
func cut(b []byte) (text string, rest []byte, found bool, err error) {
	line, rest, found := bytes.Cut(b, []byte{'\n'})
	if bytes.IndexByte(line, 0) >= 0 {
		return "", nil, false, fmt.Errorf("%s has a NUL byte", shown(string(line)))
	}
	if !found {
		return "", nil, false, nil
	}
	return string(line), rest, true, nil
}

// judge says whether a line is what it has to be, and whether more lines of the same
// reply follow.
func judge(line, code string, multiline bool) (more bool, err error) {
	if code == "" {
		return multiline && len(line) > 3 && line[3] == '-', nil
	}
	rest, ok := strings.CutPrefix(line, code)
	if multiline && ok {
		rest = strings.TrimSuffix(rest, "\r")
	}
	switch {
	case !ok:
		return false, fmt.Errorf("%s, want %s", shown(line), code)
	case rest == "" || rest[0] == ' ':
		return false, nil
	case rest[0] == '-' && multiline:
		return true, nil
	case rest[0] == '-':
		return false, fmt.Errorf("%s, want a reply of one line (multiline: true takes several)", shown(line))
	}
	return false, fmt.Errorf("%s, want %s and a space", shown(line), code)
}

// shown quotes what a server sent, in part if it is long.
func shown(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if len(line) > quoted {
		return fmt.Sprintf("%q and %d bytes more", line[:quoted], len(line)-quoted)
	}
	return fmt.Sprintf("%q", line)
}
