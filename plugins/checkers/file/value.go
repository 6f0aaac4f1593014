package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
)

const (
	// readSize is how much of a file is looked at.
	readSize = 128
	// Least and most a file may hold, as keepalived 2.2.7 has it.
	leastValue = math.MinInt32
	mostValue  = math.MaxInt32 + 1
	// downBelow is the contribution from which on a real server is down.
	downBelow = math.MinInt32
)

// parseValue reads a number as C's strtol does with any base, and ignores what follows:
// blanks, a sign, 0x or 0 for base 16 or 8. What is no number is 0; what is too large for
// 64 bits is the most or least of them.
func parseValue(text string) int64 {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	negative := strings.HasPrefix(text, "-")
	if negative || strings.HasPrefix(text, "+") {
		text = text[1:]
	}
	base := uint64(10)
	if strings.HasPrefix(text, "0") {
		base = 8
		if len(text) > 2 && (text[1] == 'x' || text[1] == 'X') && digit(text[2]) < 16 {
			base, text = 16, text[2:]
		}
	}
	most := uint64(math.MaxInt64)
	if negative {
		most++
	}
	var v uint64
	for i := range len(text) {
		d := digit(text[i])
		if d >= base {
			break
		}
		if v > (most-d)/base {
			v = most
			break
		}
		v = v*base + d
	}
	if negative {
		return -int64(v)
	}
	return int64(v)
}

// digit gives the value of a digit of base 16, or more than that.
func digit(c byte) uint64 {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0')
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return uint64(c-'A') + 10
	}
	return 16
}

// read gives what a file holds; a file that is not there holds 0.
func read(path string) (value int64, there bool, err error) {
	// Without waiting for a writer, if it is a pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return 0, false, nil
	}
	if err != nil {
		return 0, true, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, true, err
	}
	if !info.Mode().IsRegular() {
		return 0, true, fmt.Errorf("%s is not a file", path)
	}
	var buffer [readSize]byte
	n, err := io.ReadFull(f, buffer[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, true, err
	}
	return parseValue(string(buffer[:n])), true, nil
}

// judge says what a value means.
func (p parameters) judge(value int64) sdk.Result {
	if value < leastValue || value > mostValue {
		return sdk.Result{Reason: fmt.Sprintf("%s holds %d, which is not between %d and %d: it is ignored", p.Path, value, leastValue, mostValue)}
	}
	if p.Weight == 0 {
		if (value != 0) != p.Reverse {
			return sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf("%s holds %d", p.Path, value)}
		}
		return sdk.Result{Outcome: sdk.Up}
	}
	weight := p.Weight
	if p.Reverse {
		weight = -weight
	}
	// At most 2^62: it fits.
	change := value * weight
	if change <= downBelow {
		return sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf("%s holds %d, with weight %d that is %d", p.Path, value, weight, change)}
	}
	return sdk.Result{Outcome: sdk.Up, Weight: sdk.Weight{Mode: sdk.AddWeight, Value: min(change, math.MaxInt32)}}
}
