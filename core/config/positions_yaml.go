package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxPositions bounds what aliases may make of a file.
const maxPositions = 1 << 22

// positions collects lines by JSON pointer.
type positions struct {
	lines    map[string]int
	problems []lineError
}

func (p *positions) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, lineError{line, fmt.Sprintf(format, args...)})
}

func yamlPositions(data []byte) (map[string]int, []lineError, error) {
	// Decoding refuses what walking could not end: aliases in a circle or without
	// measure.
	var plain map[string]any
	if err := yaml.Unmarshal(data, &plain); err != nil {
		return nil, nil, yamlError(data, err)
	}
	p := &positions{lines: map[string]int{}}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return p.lines, nil, nil
		}
		return nil, nil, err
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		p.problem(second.Line, "a second document begins here: write one document to a file")
	case !errors.Is(err, io.EOF):
		return nil, nil, err
	}
	p.yaml("", &document)
	return p.lines, p.problems, nil
}

// yamlError finds the line of a syntax error. The parser tells where the block begins
// that the error is in, which may be far above: the error is on the first line that
// brings it about.
func yamlError(data []byte, err error) error {
	var types *yaml.TypeError
	if errors.As(err, &types) {
		return err
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	n := sort.Search(len(lines), func(n int) bool {
		var plain map[string]any
		again := yaml.Unmarshal(bytes.Join(lines[:n], nil), &plain)
		return again != nil && again.Error() == err.Error()
	})
	if len(lines) > 1 && len(lines[len(lines)-1]) == 0 {
		n = min(n, len(lines)-1)
	}
	return lineError{max(n, 1), err.Error()}
}

func (p *positions) yaml(pointer string, n *yaml.Node) {
	if len(p.lines) > maxPositions {
		return
	}
	if _, ok := p.lines[pointer]; !ok {
		p.lines[pointer] = n.Line
	}
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			p.yaml(pointer, c)
		}
	case yaml.AliasNode:
		p.yaml(pointer, n.Alias)
	case yaml.SequenceNode:
		for i, c := range n.Content {
			p.yaml(pointer+"/"+strconv.Itoa(i), c)
		}
	case yaml.MappingNode:
		p.yamlMap(pointer, n)
	}
}

func (p *positions) yamlMap(pointer string, n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Tag == "!!merge":
			// What is merged in stands behind what the map has itself.
			defer p.yamlMerge(pointer, value)
			continue
		case key.Kind != yaml.ScalarNode || key.Tag == "!!binary":
			p.problem(n.Content[i].Line, "a key has to be a plain word")
			continue
		}
		child := pointer + "/" + escape(key.Value)
		if _, ok := p.lines[child]; !ok {
			p.lines[child] = n.Content[i].Line
		}
		p.yaml(child, value)
	}
}

func (p *positions) yamlMerge(pointer string, n *yaml.Node) {
	switch n.Kind {
	case yaml.AliasNode:
		p.yamlMerge(pointer, n.Alias)
	case yaml.SequenceNode:
		for _, c := range n.Content {
			p.yamlMerge(pointer, c)
		}
	case yaml.MappingNode:
		p.yamlMap(pointer, n)
	}
}
