package config

import (
	"errors"
	"strconv"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

func tomlPositions(data []byte) (map[string]int, []lineError, error) {
	var plain map[string]any
	if err := toml.Unmarshal(data, &plain); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ := at.Position()
			return nil, nil, lineError{line, err.Error()}
		}
		return nil, nil, err
	}
	w := &tomlWalk{positions: &positions{lines: map[string]int{}}, tables: map[string]int{}}
	w.parser.Reset(data)
	table := ""
	for w.parser.NextExpression() {
		switch e := w.parser.Expression(); e.Kind {
		case unstable.Table:
			table = w.key("", e.Key(), false)
		case unstable.ArrayTable:
			table = w.key("", e.Key(), true)
		case unstable.KeyValue:
			w.value(w.key(table, e.Key(), false), e.Value())
		}
	}
	return w.lines, w.problems, w.parser.Error()
}

// tomlWalk notes the line of every key.
type tomlWalk struct {
	*positions
	parser unstable.Parser
	// tables counts the elements of arrays of tables.
	tables map[string]int
}

// key notes the parts of a dotted key and gives the pointer of the last. Where a part
// is an array of tables, its last element is meant; add makes the last part a new
// element of one.
func (w *tomlWalk) key(pointer string, k unstable.Iterator, add bool) string {
	for k.Next() {
		part := k.Node()
		line := w.parser.Shape(part.Raw).Start.Line
		pointer += "/" + escape(string(part.Data))
		w.note(pointer, line)
		if add && k.IsLast() {
			w.tables[pointer]++
		}
		if n := w.tables[pointer]; n > 0 {
			pointer += "/" + strconv.Itoa(n-1)
			w.note(pointer, line)
		}
	}
	return pointer
}

func (w *tomlWalk) note(pointer string, line int) {
	if _, ok := w.lines[pointer]; !ok {
		w.lines[pointer] = max(line, 1)
	}
}

func (w *tomlWalk) value(pointer string, n *unstable.Node) {
	if n.Raw.Length > 0 {
		w.note(pointer, w.parser.Shape(n.Raw).Start.Line)
	}
	children := n.Children()
	switch n.Kind {
	case unstable.Array:
		for i := 0; children.Next(); i++ {
			w.value(pointer+"/"+strconv.Itoa(i), children.Node())
		}
	case unstable.InlineTable:
		for children.Next() {
			c := children.Node()
			w.value(w.key(pointer, c.Key(), false), c.Value())
		}
	}
}
