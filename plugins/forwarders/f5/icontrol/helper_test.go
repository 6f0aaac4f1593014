package icontrol_test

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// fixture reads an answer of a real device. They are not part of this repository.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	const folder = "../../../../../shared/f5-fixtures"
	data, err := os.ReadFile(filepath.Join(folder, name))
	if os.IsNotExist(err) {
		t.Skipf("answers of real devices are not in %s", folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}
