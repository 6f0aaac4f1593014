package parity

import "testing"

func TestStreamPairs(t *testing.T)   { play(t, tcp, ping) }
func TestDatagramPairs(t *testing.T) { play(t, udp, dns) }
func TestMailPairs(t *testing.T)     { play(t, smtp) }
func TestWebPairs(t *testing.T)      { play(t, web) }
func TestSecurePairs(t *testing.T)   { play(t, secure) }
func TestScriptPairs(t *testing.T)   { newStage(t).play(8, miscs) }
