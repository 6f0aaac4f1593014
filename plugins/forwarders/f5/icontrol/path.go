package icontrol

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const root = "/mgmt"

// Path says where a resource is: "/mgmt/tm/ltm/pool/~partition~name". Paths can be
// compared and be keys. A path made of something that cannot be in one is kept with the
// reason; every request for it is refused with that reason.
type Path struct {
	// text is without escapes, objects in the form "~partition~name".
	text string
	bad  string
}

// Collection is the path of the resources of a kind: Collection("ltm", "pool").
func Collection(words ...string) Path { return Path{text: root + "/tm"}.Sub(words...) }

func shared(words ...string) Path { return Path{text: root + "/shared"}.Sub(words...) }

// Object is the path of an object in the collection p.
func (p Path) Object(n Name) Path {
	if err := n.Validate(); err != nil {
		return p.spoiled(err)
	}
	p.text += "/~" + strings.Join(n.parts(), "~")
	return p
}

// Sub is the path of something below p: a subcollection, or an object that goes by its bare
// name as partitions do.
func (p Path) Sub(words ...string) Path {
	for _, w := range words {
		if err := validSegment(w); err != nil {
			return p.spoiled(fmt.Errorf("part %q of a path: %w", w, err))
		}
		p.text += "/" + w
	}
	return p
}

func (p Path) spoiled(err error) Path {
	if p.bad == "" {
		p.bad = err.Error()
	}
	return p
}

// ParsePath reads a path as it is sent, or a link: of that, host and query are left out,
// because a device always calls itself localhost.
func ParsePath(s string) (Path, error) {
	text := s
	if _, after, ok := strings.Cut(s, "://"); ok {
		slash := strings.IndexByte(after, '/')
		if slash < 0 {
			return Path{}, fmt.Errorf("%q is not the link of a resource: it has no path", s)
		}
		text = after[slash:]
	}
	text, _, _ = strings.Cut(text, "?")
	rest, ok := strings.CutPrefix(text, root+"/")
	if !ok {
		return Path{}, fmt.Errorf("%q is not the path of a resource: it does not begin with %s/", s, root)
	}
	p := Path{text: root}
	for _, part := range strings.Split(strings.TrimSuffix(rest, "/"), "/") {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return Path{}, fmt.Errorf("path %q: %w", s, err)
		}
		object, isObject := strings.CutPrefix(plain, "~")
		if !isObject {
			p = p.Sub(plain)
			continue
		}
		parts := strings.Split(object, "~")
		if len(parts) < 2 {
			return Path{}, fmt.Errorf("path %q: %q has no partition or no name", s, plain)
		}
		// A slash would be taken for a folder's.
		if strings.Contains(plain, "/") {
			return Path{}, fmt.Errorf("path %q: %q contains a slash", s, plain)
		}
		name, err := nameOf(parts)
		if err != nil {
			return Path{}, fmt.Errorf("path %q: %w", s, err)
		}
		p = p.Object(name)
	}
	return p, p.Err()
}

// Version gives the version of TMOS that a link was made by, or nothing.
func Version(selfLink string) string {
	link, err := url.Parse(selfLink)
	if err != nil {
		return ""
	}
	return link.Query().Get("ver")
}

// Err says why nothing can be at this path.
func (p Path) Err() error {
	switch {
	case p.bad != "":
		return errors.New(p.bad)
	case p.text == "":
		return errors.New("the path is empty")
	}
	return nil
}

// String gives the path as it is sent.
func (p Path) String() string {
	if p.bad != "" {
		return p.text + " (" + p.bad + ")"
	}
	return escape(p.text)
}

// Names gives the objects on the path, the outermost first: the pool and the member of a
// member's.
func (p Path) Names() []Name {
	var names []Name
	for _, part := range strings.Split(p.text, "/") {
		if object, ok := strings.CutPrefix(part, "~"); ok {
			// It was valid when it was put there.
			name, _ := nameOf(strings.Split(object, "~"))
			names = append(names, name)
		}
	}
	return names
}

// Name gives the object that the path leads to, if it leads to one.
func (p Path) Name() (Name, bool) {
	last := p.text[strings.LastIndexByte(p.text, '/')+1:]
	object, ok := strings.CutPrefix(last, "~")
	if !ok {
		return Name{}, false
	}
	name, _ := nameOf(strings.Split(object, "~"))
	return name, true
}

// Kind gives the path without objects and root: "ltm/pool/members".
func (p Path) Kind() string {
	var words []string
	for _, part := range strings.Split(strings.TrimPrefix(p.text, root+"/tm/"), "/") {
		if !strings.HasPrefix(part, "~") {
			words = append(words, part)
		}
	}
	return strings.Join(words, "/")
}

// escape is stricter than net/url: a percent sign that is part of a name is the start of a
// route domain and has to arrive as one.
func escape(text string) string {
	const plain = "-._~:/"
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
