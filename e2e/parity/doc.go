// Package parity runs the same checks by poised and by Debian's keepalived, against
// servers with the same faults in the same order, and compares what becomes of the
// kernel's tables: which state a real server was in after how many probes.
//
//	go test -v ./e2e/parity                          all checkers; the table is in the output
//	go test -v -run TestWebPairs/HTTP ./e2e/parity   one of them
//
// A case is a virtual server in one keepalived.conf, which both daemons read, and a port
// of package fault. Its outcome is written "in out@4 in@7": the real server is in the
// table at the start, has gone when four probes had begun, and is back after the
// seventh. "w=3" is in with that weight. Verdicts are on these counts; the clock decides
// nothing.
//
// Where poise is meant to differ, the case says how and why, and both outcomes are
// asserted.
package parity
