// Package agent is the agent checker: the real server says its own state, weight and
// wishes in a line of text, as with HAProxy's agent-check.
//
// What an agent does not mention stays as it was: each prober holds what its agent said
// last, and begins with what the daemon knows. An agent that cannot be reached, or says
// nothing that is known, changes nothing; such a probe has not been made, and the
// check's policy for that decides.
//
// Sharp edge: what the daemon knows after its start may be inferred from the table, where
// a real server that was not in it is known as down. The agent has not said that, so it is
// not believed; else a server whose agent speaks of nothing but its weight would never
// come up.
package agent
