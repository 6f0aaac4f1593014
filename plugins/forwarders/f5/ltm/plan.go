package ltm

import (
	"net/http"
	"strings"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// MaxCommands is the most commands that one transaction has.
const MaxCommands = 100

// Command is one request of a transaction.
type Command struct {
	// Verb is POST, PATCH or DELETE.
	Verb string
	// Path on the device, escaped.
	Path string
	// Body is nil for DELETE.
	Body map[string]any
	// Why says what it does, for people.
	Why string
}

// Part is what belongs together in a plan: never in two transactions.
type Part struct {
	// Name is unique in a plan.
	Name string
	// Key of the virtual server that it is about; nil: none alone.
	Key *forwardv1.ServiceKey
	// Needs are the names of parts that have to have been carried out; those that the plan
	// does not have are there already.
	Needs []string
	// Optional: that it is refused is no error (the node is in use).
	Optional bool
	Commands []Command
	// stage: parts of a later one are in a later transaction.
	stage int
	// glued: it is in the same transaction as the next one.
	glued bool
}

// Transaction is a row of parts to be committed together.
type Transaction struct {
	Parts []Part
}

// Plan is what makes a partition what it should be: transactions, in this order. One that
// the device refuses for good is tried again part by part (Alone), so that one bad object
// does not keep the others from being made; parts that need one that failed are left out
// (Without).
type Plan struct {
	Transactions []Transaction
	// Refusals are virtual servers that something of others' is in the way of, and objects
	// of ours that cannot be removed.
	Refusals []Refusal
	// Again: when this is carried out, read the partition again and plan the rest.
	Again bool
}

// Commands of the transaction in order.
func (t Transaction) Commands() []Command {
	var out []Command
	for _, p := range t.Parts {
		out = append(out, p.Commands...)
	}
	return out
}

// Alone is the transaction part by part.
func (t Transaction) Alone() []Transaction {
	var out []Transaction
	for _, p := range t.Parts {
		out = append(out, Transaction{Parts: []Part{p}})
	}
	return out
}

// Without is the transaction without parts that need one of those that failed, and what
// was left out; its names are added to failed.
func (t Transaction) Without(failed map[string]bool) (Transaction, []Part) {
	var rest Transaction
	var out []Part
	for _, p := range t.Parts {
		needs := false
		for _, name := range p.Needs {
			needs = needs || failed[name]
		}
		if needs {
			failed[p.Name] = true
			out = append(out, p)
			continue
		}
		rest.Parts = append(rest.Parts, p)
	}
	return rest, out
}

// Count is the number of commands in all.
func (p Plan) Count() int {
	n := 0
	for _, t := range p.Transactions {
		n += len(t.Commands())
	}
	return n
}

// OnlyPatchesPools tells whether nothing but pools and their members is changed, and
// nothing made or removed.
func (p Plan) OnlyPatchesPools() bool {
	for _, t := range p.Transactions {
		for _, c := range t.Commands() {
			if c.Verb != http.MethodPatch || !strings.HasPrefix(c.Path, KindPool.Collection()+"/") {
				return false
			}
		}
	}
	return !p.Again
}

// pack fills transactions with parts, in order. No part is longer than a transaction may
// be.
func pack(parts []Part) []Transaction {
	var out []Transaction
	size, stage := 0, -1
	for i := 0; i < len(parts); {
		row, n := parts[i:i+1], len(parts[i].Commands)
		for row[len(row)-1].glued && i+len(row) < len(parts) {
			row = parts[i : i+len(row)+1]
			n += len(row[len(row)-1].Commands)
		}
		i += len(row)
		if len(out) == 0 || size+n > MaxCommands || row[0].stage != stage {
			out, size, stage = append(out, Transaction{}), 0, row[0].stage
		}
		last := &out[len(out)-1]
		last.Parts = append(last.Parts, row...)
		size += n
	}
	return out
}

func post(kind Kind, path string, body map[string]any, why string) Command {
	return Command{Verb: http.MethodPost, Path: kind.Collection(), Body: creation(path, body), Why: why}
}

func patch(kind Kind, path string, body map[string]any, why string) Command {
	return Command{Verb: http.MethodPatch, Path: objectPath(kind, path), Body: body, Why: why}
}

func remove(kind Kind, path, why string) Command {
	return Command{Verb: http.MethodDelete, Path: objectPath(kind, path), Why: why}
}
