package parity

import "testing"

// TestPairs plays the cases of the checkers for which any server will do.
func TestPairs(t *testing.T) { play(t, tcp) }
