package proto_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The committed Go code is what the protos give.
func TestGeneratedCodeIsUpToDate(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no protoc: apt-get install protobuf-compiler")
		}
		t.Skip("no protoc, so this shows nothing: apt-get install protobuf-compiler")
	}
	fresh := t.TempDir()
	if out, err := exec.Command("./generate.sh", fresh).CombinedOutput(); err != nil {
		t.Fatalf("generate: %v\n%s", err, out)
	}
	want, got := generated(t, fresh), generated(t, ".")
	if len(want) < 10 {
		t.Fatalf("only %d files were generated", len(want))
	}
	for name, text := range want {
		if !bytes.Equal(withoutVersions(text), withoutVersions(got[name])) {
			t.Errorf("%s is not what its proto gives: run make generate and commit", name)
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("%s has no proto any more: remove it", name)
		}
	}
}

// generated are the files with generated code under a directory.
func generated(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(filepath.Join(dir, "poise"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pb.go") {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withoutVersions leaves the comment out that names protoc's version: which one a
// machine has changes nothing else.
func withoutVersions(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("// ")) || !bytes.Contains(line, []byte("protoc  ")) {
			out = append(out, line...)
		}
	}
	return out
}
