package record

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sum is a digest of settings, or a boot's identity.
type Sum [16]byte

// Header is what changes all the time.
type Header struct {
	// Boot is the boot the times belong to.
	Boot Sum
	// Settings is a digest of those that must be the same for an adoption.
	Settings Sum
	// Master: the instance is master, and no other one was heard since its last advert.
	Master bool
	// Holds: its addresses are, or may be, on their interfaces.
	Holds bool
	// LastAdvert is the time of the last advert by CLOCK_BOOTTIME.
	LastAdvert time.Duration
}

// Body is what changes with the configuration.
type Body struct {
	Group     string    `json:"group"`
	Instance  string    `json:"instance"`
	Addresses []Address `json:"addresses"`
}

// Address is an address and where it was put.
type Address struct {
	Interface string       `json:"interface"`
	Prefix    netip.Prefix `json:"prefix"`
}

const (
	magic      = "poisevr1"
	headerSize = 56
	suffix     = ".instance"
	// maxFile bounds what is read back: far more than 510 addresses need.
	maxFile = 1 << 20
)

// encode gives the header's bytes.
func (h Header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, h.Boot[:]...)
	b = append(b, h.Settings[:]...)
	b = append(b, flag(h.Master), flag(h.Holds), 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(h.LastAdvert))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// decode reads a header.
func decode(b []byte) (Header, error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return Header{}, errors.New("not a record of a VRRP instance")
	}
	if crc32.ChecksumIEEE(b[:headerSize-4]) != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return Header{}, errors.New("the record's checksum is wrong")
	}
	h := Header{Master: b[40] == 1, Holds: b[41] == 1, LastAdvert: time.Duration(binary.BigEndian.Uint64(b[44:]))}
	copy(h.Boot[:], b[8:])
	copy(h.Settings[:], b[24:])
	return h, nil
}

// File is the record of one instance.
type File struct {
	file *os.File
	path string
	last Header
}

// Create makes the record of an instance, or replaces it as a whole.
func Create(dir string, body Body, header Header) (*File, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the record of instance %s: %w", body.Instance, err)
	}
	path := filepath.Join(dir, name(body.Group, body.Instance))
	file, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return nil, fmt.Errorf("make the record of instance %s: %w", body.Instance, err)
	}
	_, err = file.Write(append(header.encode(), data...))
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, fmt.Errorf("write the record of instance %s: %w", body.Instance, err)
	}
	return &File{file, path, header}, nil
}

func name(group, instance string) string {
	sum := sha256.Sum256([]byte(group + "\x00" + instance))
	return hex.EncodeToString(sum[:8]) + suffix
}

// Write puts a header in the place of the last one, if it differs.
func (f *File) Write(h Header) error {
	if h == f.last {
		return nil
	}
	if _, err := f.file.WriteAt(h.encode(), 0); err != nil {
		return fmt.Errorf("write the record %s: %w", f.path, err)
	}
	f.last = h
	return nil
}

// Close leaves the record where it is.
func (f *File) Close() { f.file.Close() }

// Remove closes the record and removes it.
func (f *File) Remove() {
	f.file.Close()
	os.Remove(f.path)
}

// Saved is a record that was found.
type Saved struct {
	Header
	Body
	path string
}

// Remove removes the record.
func (s Saved) Remove() { os.Remove(s.path) }

// ReadAll reads all the records of this boot in a directory. Those of another boot, and
// what cannot be read, it removes; the error joins what was wrong.
func ReadAll(dir string, boot Sum) ([]Saved, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the records in %s: %w", dir, err)
	}
	var all []Saved
	var wrong []error
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), "new-") {
			os.Remove(path)
			continue
		}
		if !strings.HasSuffix(entry.Name(), suffix) {
			continue
		}
		saved, err := read(path)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("read the record %s: %w", path, err))
			os.Remove(path)
		case saved.Boot != boot:
			os.Remove(path)
		default:
			all = append(all, saved)
		}
	}
	return all, errors.Join(wrong...)
}

func read(path string) (Saved, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Saved{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return Saved{}, errors.New("not a small regular file")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Saved{}, err
	}
	saved, err := parse(data)
	saved.path = path
	return saved, err
}

func parse(data []byte) (Saved, error) {
	header, err := decode(data)
	if err != nil {
		return Saved{}, err
	}
	saved := Saved{Header: header}
	if err := json.Unmarshal(data[headerSize:], &saved.Body); err != nil {
		return Saved{}, fmt.Errorf("addresses: %w", err)
	}
	return saved, nil
}
