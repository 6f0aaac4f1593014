package ltm

import (
	"net/url"
	"strings"
)

const root = "/mgmt/tm/ltm/"

// State is what a partition holds, as read, ours and others'. It may also hold nodes of
// /Common, so that members are given the nodes that are there.
type State struct {
	Partition string
	// DefaultDomain is the partition's default route domain, which addresses are in that
	// name none.
	DefaultDomain    int
	Pools            []Pool
	Virtuals         []Virtual
	VirtualAddresses []VirtualAddress
	Persistences     []Persistence
	FastL4s          []FastL4
	UDPs             []UDP
	Nodes            []Node
	Stats            Stats
}

// Owner tells our objects from others'.
type Owner struct {
	// Name of the mark: the metadata entry, and the start of descriptions.
	Mark string
	// Instance is the mark's value.
	Instance string
}

// description is the start of a description of ours.
func (o Owner) description() string { return o.Mark + "/" + o.Instance }

// Owns tells whether an object has our mark: the metadata entry, or failing that a
// description that begins with it.
func (o Owner) Owns(m Mark) bool {
	if value, ok := m.Metadata[o.Mark]; ok {
		return value == o.Instance
	}
	return o.describes(m.Description)
}

func (o Owner) describes(description string) bool {
	first, _, _ := strings.Cut(description, " ")
	return first == o.description()
}

// note is what follows the mark in a description of ours: "scheduler wrr".
func (o Owner) note(description, key string) string {
	if !o.describes(description) {
		return ""
	}
	words := strings.Fields(description)[1:]
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] == key {
			return words[i+1]
		}
	}
	return ""
}

// describe makes a description of ours from pairs of words.
func (o Owner) describe(words ...string) string {
	return strings.Join(append([]string{o.description()}, words...), " ")
}

// objectPath is the path of an object on the device.
func objectPath(kind Kind, path string) string { return root + string(kind) + "/" + tilde(path) }

// memberPath is the path of a member of a pool.
func memberPath(pool, member string) string {
	return objectPath(KindPool, pool) + "/members/" + tilde(member)
}

// tilde writes a full path as one segment of a URL.
func tilde(path string) string {
	return strings.ReplaceAll(url.PathEscape(strings.ReplaceAll(path, "/", "~")), "%3A", ":")
}
