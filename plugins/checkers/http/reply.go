package http

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	// rawHeadLimit is the longest head of a reply that keepalived reads.
	rawHeadLimit = 4095
	// headLimit bounds the head, and the trailer, of all others.
	headLimit = 64 << 10
	// keptHead is how much of a buffer for heads stays allocated.
	keptHead = 1 << 10
	// chunkLineLimit bounds the line before a chunk.
	chunkLineLimit = 4 << 10
)

// reply reads one HTTP/1 response. Bytes are fed to it as they come, and none are kept
// but those of a head that is not whole yet. It is used for one response after the
// other.
type reply struct {
	// raw: the body is what comes after the head, to the end of the connection.
	raw bool
	// bodiless: the request was one whose answer has no body.
	bodiless bool
	wanted   *url

	state  replyState
	head   []byte
	status int
	// line is the status line, cut short.
	line   []byte
	fields int
	// length is what Content-Length says, -1 for nothing.
	length int64
	// left of the body, or of a chunk.
	left int64
	// lineBytes of a chunk's line, or of the trailer, have come.
	lineBytes int
	// size and digits of the chunk whose line is read; extension: what comes is no
	// digit of it.
	size      int64
	digits    int
	extension bool
	body      body
}

type replyState uint8

const (
	inHead replyState = iota
	inBody
	inLength
	inChunkLine
	inChunk
	inChunkEnd
	inTrailer
	atEnd
)

// begin prepares for a response to a request for a url, which is there by the deadline.
func (r *reply) begin(u *url, raw, bodiless bool, deadline time.Time) {
	*r = reply{raw: raw, bodiless: bodiless, wanted: u, head: r.head[:0], line: r.line[:0], length: -1, body: r.body}
	r.body.begin(u, deadline)
}

// release gives up what is not worth keeping until the next response.
func (r *reply) release() {
	if cap(r.head) > keptHead {
		r.head = nil
	}
	if r.body.match != nil {
		r.body.match.release()
	}
}

// feed takes what came. done: the response is whole, and what comes after it is not
// part of it. An error is a reply that is not wanted; nothing more need be read.
func (r *reply) feed(b []byte) (done bool, err error) {
	if r.state == inHead {
		b, err = r.feedHead(b)
		if err != nil || r.state == inHead {
			return false, err
		}
	}
	for len(b) > 0 || r.state == atEnd {
		switch r.state {
		case atEnd:
			return true, nil
		case inBody:
			return false, r.body.write(b)
		case inLength, inChunk:
			n := min(int64(len(b)), r.left)
			if err := r.body.write(b[:n]); err != nil {
				return false, err
			}
			r.left -= n
			b = b[n:]
			if r.left == 0 && r.state == inChunk {
				r.state = inChunkEnd
			} else if r.left == 0 {
				r.state = atEnd
			}
		default:
			if err := r.chunkByte(b[0]); err != nil {
				return false, err
			}
			b = b[1:]
		}
	}
	return false, nil
}

// chunkByte takes a byte between chunks.
func (r *reply) chunkByte(c byte) error {
	r.lineBytes++
	switch r.state {
	case inChunkLine:
		return r.chunkLine(c)
	case inChunkEnd:
		switch {
		case c == '\r' && r.lineBytes == 1:
		case c == '\n':
			r.state, r.lineBytes = inChunkLine, 0
		default:
			return fmt.Errorf("malformed chunk: %q where its end should be", c)
		}
	case inTrailer:
		if r.lineBytes > headLimit {
			return fmt.Errorf("trailer longer than %d bytes", headLimit)
		}
		// digits are the bytes of this line.
		switch {
		case c == '\n' && r.digits == 0:
			r.state = atEnd
		case c == '\n':
			r.digits = 0
		case c != '\r':
			r.digits++
		}
	}
	return nil
}

func (r *reply) chunkLine(c byte) error {
	if r.lineBytes > chunkLineLimit {
		return fmt.Errorf("malformed chunk: its size takes more than %d bytes", chunkLineLimit)
	}
	digit := hexDigit(c)
	switch {
	case c == '\n':
		if r.digits == 0 {
			return errors.New("malformed chunk: it has no size")
		}
		r.state, r.left = inChunk, r.size
		if r.size == 0 {
			r.state = inTrailer
		}
		r.size, r.digits, r.lineBytes, r.extension = 0, 0, 0, false
	case r.extension:
	case digit >= 0:
		if r.size >= 1<<58 {
			return errors.New("malformed chunk: its size is beyond all bounds")
		}
		r.size = r.size<<4 | int64(digit)
		r.digits++
	case c == ';' || c == ' ' || c == '\t' || c == '\r':
		r.extension = true
	default:
		return fmt.Errorf("malformed chunk: %q in its size", c)
	}
	return nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// feedHead collects the head, and gives what comes after it.
func (r *reply) feedHead(b []byte) ([]byte, error) {
	limit := headLimit
	if r.raw {
		limit = rawHeadLimit
	}
	for {
		head, before := b, len(r.head)
		if before > 0 {
			r.head = append(r.head, b[:min(len(b), limit+1-before)]...)
			head = r.head
		}
		from := max(0, before-len(headEnd)+1)
		end := bytes.Index(head[from:], headEnd)
		if end < 0 && len(head) <= limit {
			if before == 0 {
				r.head = append(r.head, b...)
			}
			return nil, nil
		}
		end += from + len(headEnd)
		if end < from+len(headEnd) || end > limit {
			if status, _ := parseStatusLine(head, r.raw); status == 0 {
				return nil, errors.New("not HTTP: no status line")
			}
			return nil, fmt.Errorf("headers longer than %d bytes", limit)
		}
		interim, err := r.parseHead(head[:end])
		if err != nil {
			return nil, err
		}
		b, r.head = b[end-before:], r.head[:0]
		if !interim {
			return b, nil
		}
	}
}

var headEnd = []byte("\r\n\r\n")

// parseHead reads a whole head. interim: another one follows.
func (r *reply) parseHead(head []byte) (interim bool, err error) {
	var line []byte
	line, head, _ = bytes.Cut(head, crlf)
	r.line = append(r.line[:0], line[:min(len(line), 80)]...)
	status, ok := parseStatusLine(line, r.raw)
	if !ok {
		return false, fmt.Errorf("not HTTP: status line %q", r.line)
	}
	r.status = status
	if !r.raw && status < 200 && status != 101 {
		return true, nil
	}
	chunked := false
	for {
		line, head, _ = bytes.Cut(head, crlf)
		if len(line) == 0 {
			break
		}
		r.fields++
		name, value, _ := bytes.Cut(line, colon)
		switch {
		case len(name) == len(contentLength) && bytes.EqualFold(name, contentLength):
			if err := r.setLength(bytes.Trim(value, " \t")); err != nil {
				return false, err
			}
		case len(name) == len(transferEncoding) && bytes.EqualFold(name, transferEncoding):
			chunked = bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked"))
			if !chunked && !r.raw {
				return false, fmt.Errorf("transfer encoding %.40q: only chunked can be read", bytes.Trim(value, " \t"))
			}
		}
	}
	if !r.wanted.status.has(status) {
		return false, statusError(status, r.wanted)
	}
	switch {
	case r.raw:
		// keepalived reads on, but its digest is of what was announced.
		r.state, r.body.counts = inBody, r.length
	case r.bodiless || status == 204 || status == 304:
		r.state = atEnd
	case chunked:
		r.state = inChunkLine
	case r.length == 0:
		r.state = atEnd
	case r.length > 0:
		r.state, r.left = inLength, r.length
	default:
		r.state = inBody
	}
	return false, nil
}

var (
	crlf             = []byte("\r\n")
	colon            = []byte(":")
	contentLength    = []byte("Content-Length")
	transferEncoding = []byte("Transfer-Encoding")
)

func statusError(status int, u *url) error {
	return fmt.Errorf("status %d, not in %s", status, u.status.text)
}

// setLength reads a Content-Length, which only who reads by it has to believe.
func (r *reply) setLength(value []byte) error {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if r.raw {
		if err == nil && n >= 0 && r.length < 0 {
			r.length = n
		}
		return nil
	}
	if err != nil || n < 0 || value[0] == '+' {
		return fmt.Errorf("malformed Content-Length %.40q", value)
	}
	if r.length >= 0 && r.length != n {
		return fmt.Errorf("two Content-Lengths, %d and %d", r.length, n)
	}
	r.length = n
	return nil
}

// parseStatusLine wants a word, one blank and three digits, and another blank; that one
// may be left out unless the reply is read as keepalived does.
func parseStatusLine(line []byte, raw bool) (status int, ok bool) {
	i := bytes.IndexByte(line, ' ')
	if i < 0 || len(line) < i+4 {
		return 0, false
	}
	for _, c := range line[i+1 : i+4] {
		if c < '0' || c > '9' {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return 0, false
	}
	if len(line) == i+4 {
		return status, !raw
	}
	return status, line[i+4] == ' '
}

// eof says what is wrong with a response that ends here; nil: nothing.
func (r *reply) eof() error {
	switch r.state {
	case inHead:
		if len(r.head) == 0 && r.status == 0 {
			return errors.New("empty reply")
		}
		return errors.New("connection closed in the headers")
	case inLength:
		return fmt.Errorf("connection closed after %d of %d bytes", r.length-r.left, r.length)
	case inChunkLine, inChunk, inChunkEnd, inTrailer:
		return fmt.Errorf("connection closed after %d bytes, before the last chunk", r.body.size)
	}
	return nil
}
