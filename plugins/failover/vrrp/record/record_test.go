package record

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	boot = Sum{1, 2, 3}
	body = Body{Group: "VGM", Instance: "http", Addresses: []Address{{"eth0", netip.MustParsePrefix("192.0.2.100/32")}}}
)

func TestReadAllGivesWhatWasWrittenLast(t *testing.T) {
	dir := t.TempDir()
	header := Header{Boot: boot, Settings: Sum{9}, Master: true, Holds: true, LastAdvert: time.Second}
	f, err := Create(dir, body, header)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	header.LastAdvert = 2 * time.Second
	if err := f.Write(header); err != nil {
		t.Fatal(err)
	}
	other := body
	other.Instance = "ftp"
	g, err := Create(dir, other, Header{Boot: boot})
	if err != nil {
		t.Fatal(err)
	}
	g.Remove()
	saved, err := ReadAll(dir, boot)
	if err != nil || len(saved) != 1 || saved[0].Header != header || !reflect.DeepEqual(saved[0].Body, body) {
		t.Fatalf("read %+v, %v; want %+v %+v", saved, err, header, body)
	}
	saved[0].Remove()
	if saved, err := ReadAll(dir, boot); err != nil || len(saved) != 0 {
		t.Fatalf("after Remove: %+v, %v", saved, err)
	}
}

func TestCreateReplaces(t *testing.T) {
	dir := t.TempDir()
	long := body
	for range 50 {
		long.Addresses = append(long.Addresses, body.Addresses...)
	}
	for _, b := range []Body{long, body} {
		f, err := Create(dir, b, Header{Boot: boot})
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	saved, err := ReadAll(dir, boot)
	if err != nil || len(saved) != 1 || len(saved[0].Addresses) != 1 {
		t.Fatalf("read %+v, %v", saved, err)
	}
}

func TestWhatCountsForNothingIsRemoved(t *testing.T) {
	whole := append(Header{Boot: boot, Master: true}.encode(), []byte(`{"group":"g"}`)...)
	flipped := append([]byte(nil), whole...)
	flipped[50] ^= 1
	tests := map[string]struct {
		data  []byte
		wrong bool
	}{
		"of another boot": {append(Header{Boot: Sum{7}}.encode(), '{', '}'), false},
		"empty":           {nil, true},
		"cut":             {whole[:headerSize-1], true},
		"cut body":        {whole[:headerSize+4], true},
		"a bit flipped":   {flipped, true},
		"too large":       {append(whole, make([]byte, maxFile)...), true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x"+suffix)
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			saved, err := ReadAll(dir, boot)
			if len(saved) != 0 || (err != nil) != test.wrong {
				t.Errorf("read %+v, %v", saved, err)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("the file is still there: %v", err)
			}
		})
	}
}

func TestLeftoversAndForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"new-123", "keep.me"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link"+suffix)); err != nil {
		t.Fatal(err)
	}
	if saved, err := ReadAll(dir, boot); err == nil || len(saved) != 0 {
		t.Errorf("a symbolic link was read: %+v, %v", saved, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "keep.me" {
		t.Errorf("left over: %v, %v", entries, err)
	}
	if _, err := ReadAll(filepath.Join(dir, "missing"), boot); err == nil {
		t.Error("a directory that is missing is no error")
	}
}

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{
			Master: rapid.Bool().Draw(t, "master"), Holds: rapid.Bool().Draw(t, "holds"),
			LastAdvert: time.Duration(rapid.Int64().Draw(t, "last")),
			Boot:       Sum(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "boot")),
			Settings:   Sum(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "settings")),
		}
		b := h.encode()
		if got, err := decode(b); err != nil || got != h || len(b) != headerSize {
			t.Fatalf("%+v is read as %+v, %v", h, got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(append(Header{Boot: boot}.encode(), []byte(`{"group":"g","addresses":[{"interface":"eth0","prefix":"192.0.2.1/32"}]}`)...))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		saved, err := parse(data)
		if err == nil && len(data) < headerSize {
			t.Errorf("%x is read as %+v", data, saved)
		}
	})
}
