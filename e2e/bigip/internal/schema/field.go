package schema

func text(name string) Field          { return Field{Name: name, Type: Text} }
func textOr(name, value string) Field { return Field{Name: name, Type: Text, Default: value} }
func choice(name string, words ...string) Field {
	return Field{Name: name, Type: Choice, Default: words[0], Words: words}
}
func number(name string, value int) Field { return Field{Name: name, Type: Number, Default: value} }
func numberIn(name string, value, lowest, highest int) Field {
	return Field{Name: name, Type: Number, Default: value, Min: lowest, Max: highest}
}
func digits(name, value string, words ...string) Field {
	return Field{Name: name, Type: Digits, Default: value, Words: words}
}
func ref(name string, to ...string) Field { return Field{Name: name, Type: Ref, To: to, Link: true} }
func refs(name string, to ...string) Field {
	return Field{Name: name, Type: RefList, To: to, Link: true}
}
func flag(name, opposite string) Field { return Field{Name: name, Type: Flag, Opposite: opposite} }
func enabled(name string) Field        { return choice(name, "enabled", "disabled") }
func disabled(name string) Field       { return choice(name, "disabled", "enabled") }
func yes(name string) Field            { return choice(name, "yes", "no") }
func no(name string) Field             { return choice(name, "no", "yes") }

func fixed(f Field) Field  { f.Fixed = true; return f }
func device(f Field) Field { f.Device = true; return f }

// or gives a field another default.
func or(f Field, value any) Field { f.Default = value; return f }

// fields joins lists of fields; of two of one name the later one counts.
func fields(lists ...[]Field) []Field {
	var out []Field
	for _, list := range lists {
		for _, f := range list {
			if old := find(out, f.Name); old != nil {
				*old = f
				continue
			}
			out = append(out, f)
		}
	}
	return out
}

// metadata is what pools and virtual servers carry for whoever manages them.
func metadata() Field {
	return Field{Name: "metadata", Type: Items, Fields: []Field{
		text("name"), choice("persist", "true", "false"), text("value"),
	}}
}
