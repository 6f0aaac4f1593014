package fault

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settle is how long a client may take to have its connection before that is reset.
	settle = 50 * time.Millisecond
	// patience is how long a connection is held at most.
	patience = 2 * time.Minute
)

// nonsense means nothing to any client.
var nonsense = bytes.Repeat([]byte{0x00, 0xff, 0x17, 'z', 0x80, '\n', 0xc3, 0x28}, 64)

// stream does a step on a connection.
func (p *port) stream(conn *net.TCPConn, step string) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	verb, arg, _ := strings.Cut(step, ":")
	switch verb {
	case "hang":
		drain(conn)
	case "halfopen":
		// Whatever the client sends is neither answered nor acknowledged.
		_ = attach(conn, []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}})
		time.Sleep(patience)
	case "reset":
		time.Sleep(settle)
		_ = conn.SetLinger(0)
	case "close":
	case "garbage":
		_, _ = conn.Write(nonsense)
		linger(conn)
	default:
		switch p.Kind {
		case HTTP:
			web(conn, verb, arg)
		case HTTPS:
			secure(conn, verb, arg)
		case SMTP:
			mail(conn, verb, arg)
		case Agent:
			agent(conn, verb, arg)
		case GRPC:
			health(conn, verb)
		default:
			drain(conn)
		}
	}
}

// drain reads until the client closes.
func drain(conn io.Reader) { _, _ = io.Copy(io.Discard, conn) }

// linger closes the way back and waits a little for the client's end, so that what was
// written is not lost to a reset.
func linger(conn *net.TCPConn) {
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	drain(conn)
}

// drip writes byte by byte, each after a pause.
func drip(w io.Writer, text string, pause time.Duration) {
	for i := range len(text) {
		time.Sleep(pause)
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
	}
}

// period reads a duration of a step.
func period(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return time.Second
	}
	return d
}

// mail is an SMTP server. Its steps:
//
//	slow:DURATION    the greeting comes late
//	greet:CODE       another greeting than 220
//	helo:CODE        another answer to HELO than 250
//	multiline        a greeting of several lines
//	bare             a greeting without text
//	long             a greeting of 8 KB
//	silenthelo       HELO is not answered
//	drip:DURATION    the greeting comes byte by byte, after such pauses
//	want:NAME        550 to a HELO with another name
func mail(conn *net.TCPConn, verb, arg string) {
	defer linger(conn)
	greeting, answer := "220 lab ESMTP\r\n", "250 lab\r\n"
	pause := time.Duration(0)
	switch verb {
	case "slow":
		time.Sleep(period(arg))
	case "greet":
		greeting = arg + " lab\r\n"
	case "helo":
		answer = arg + " lab\r\n"
	case "multiline":
		greeting = "220-lab\r\n220-more\r\n220 ESMTP\r\n"
	case "bare":
		greeting = "220\r\n"
	case "long":
		greeting = "220 " + strings.Repeat("x", 8<<10) + "\r\n"
	case "drip":
		pause = period(arg)
	}
	if pause > 0 {
		drip(conn, greeting, pause)
	} else if _, err := io.WriteString(conn, greeting); err != nil {
		return
	}
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		command, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(command) {
		case "HELO", "EHLO":
			if verb == "silenthelo" {
				drain(conn)
				return
			}
			if verb == "want" && rest != arg {
				answer = "550 who are you\r\n"
			}
		case "QUIT":
			_, _ = io.WriteString(conn, "221 bye\r\n")
			return
		default:
			answer = "502 no\r\n"
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// agent writes the step itself as a line: "75%", "up", "drain"; an underscore is a
// space. "good" is up, "slow:DURATION" up after a while, "endless" a line that does not
// end, "empty" no line.
func agent(conn *net.TCPConn, verb, arg string) {
	defer linger(conn)
	line := verb
	switch verb {
	case "good":
		line = "up"
	case "slow":
		time.Sleep(period(arg))
		line = "up"
	case "empty":
		return
	case "endless":
		for {
			if _, err := conn.Write(bytes.Repeat([]byte{'u'}, 4096)); err != nil {
				return
			}
		}
	}
	_, _ = io.WriteString(conn, strings.ReplaceAll(line, "_", " ")+"\r\n")
}

// number reads a number of a step.
func number(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return otherwise
	}
	return n
}
