package uml

import (
	"bytes"
	"io"
)

// noise are lines that the kernel itself writes to its console on the host.
var noise = [][]byte{
	[]byte("SELinux: "), []byte("mmapper_init - "), []byte("Failed to initialize ubd device"),
	[]byte("reboot: System halted"),
}

// lineWriter passes whole lines on, without the carriage returns of a console and
// without the kernel's noise. What has no newline is passed on when the next one comes:
// the console ends with one.
type lineWriter struct {
	w    io.Writer
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		line := bytes.TrimRight(l.rest[:end], "\r")
		quiet := false
		for _, n := range noise {
			quiet = quiet || bytes.HasPrefix(line, n)
		}
		if !quiet {
			if _, err := l.w.Write(append(line, '\n')); err != nil {
				return len(p), err
			}
		}
		l.rest = l.rest[end+1:]
	}
}
