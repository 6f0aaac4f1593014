package sdk

import (
	"encoding/json"
	"reflect"
)

// Schema gives the JSON Schema (draft 2020-12) of a struct of parameters, as Decode
// reads it: names from json tags, descriptions from doc tags, defaults from the values
// that are set in it.
func Schema(parameters any) json.RawMessage {
	v := reflect.Indirect(reflect.ValueOf(parameters))
	if v.Kind() != reflect.Struct {
		return nil
	}
	schema := schemaOf(v.Type(), v)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	out, err := json.Marshal(schema)
	if err != nil {
		return nil
	}
	return out
}

// schemaOf describes a type; v is the default, or invalid.
func schemaOf(t reflect.Type, v reflect.Value) map[string]any {
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return map[string]any{"type": "string"}
	}
	if reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Pointer:
		return schemaOf(t.Elem(), reflect.Value{})
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), reflect.Value{})}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), reflect.Value{})}
	case reflect.Struct:
		properties := map[string]any{}
		for _, f := range fields(t) {
			var value reflect.Value
			if v.IsValid() {
				value, _ = v.FieldByIndexErr(f.index)
			}
			property := schemaOf(f.typ, value)
			if f.doc != "" {
				property["description"] = f.doc
			}
			if value.IsValid() && !value.IsZero() && f.typ.Kind() != reflect.Struct {
				property["default"] = value.Interface()
			}
			properties[f.name] = property
		}
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	}
	return map[string]any{}
}
