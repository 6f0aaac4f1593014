package icontrol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	u := newUnit(t)
	c := u.client(t)
	all := make([]string, 25)
	for i := range all {
		all[i] = fmt.Sprintf("p%02d", i)
	}
	// serve is a device with pages; it can be one that does not know $skip or $top.
	serve := func(knowsSkip, knowsTop bool, change func(skip int)) {
		onPools(u, -1, func(w http.ResponseWriter, r *http.Request) {
			var skip, top int
			_, _ = fmt.Sscan(r.URL.Query().Get("$skip"), &skip)
			_, _ = fmt.Sscan(r.URL.Query().Get("$top"), &top)
			if !knowsSkip {
				skip = 0
			}
			if !knowsTop || top == 0 {
				top = len(all)
			}
			if change != nil {
				change(skip)
			}
			var items []map[string]any
			for _, name := range all[min(skip, len(all)):min(skip+top, len(all))] {
				items = append(items, map[string]any{"name": name, "fullPath": "/lab/" + name})
			}
			body := map[string]any{"kind": "tm:ltm:pool:poolcollectionstate"}
			if items != nil {
				body["items"] = items
			}
			answer(w, body)
		})
	}
	list := func(page int) ([]string, error) {
		var names []string
		err := c.List(t.Context(), pools, url.Values{"$filter": {"partition eq lab"}}, page, func(item json.RawMessage) error {
			var in struct{ Name string }
			err := json.Unmarshal(item, &in)
			names = append(names, in.Name)
			return err
		})
		return names, err
	}
	for _, page := range []int{0, 1, 10, 24, 25, 26, 100} {
		serve(true, true, nil)
		if got, err := list(page); err != nil || !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, %v", page, got, err)
		}
	}
	serve(true, false, nil)
	if got, err := list(10); err != nil || !slices.Equal(got, all) {
		t.Errorf("a device that does not know $top: %v, %v", got, err)
	}
	for _, knowsTop := range []bool{true, false} {
		serve(false, knowsTop, nil)
		before := u.asked("GET")
		if got, err := list(10); err == nil || !strings.Contains(err.Error(), "were there before") {
			t.Errorf("a device that does not turn pages: %v, %v", got, err)
		}
		if n := u.asked("GET") - before; n != 2 {
			t.Errorf("a device that does not turn pages was asked %d times", n)
		}
	}
	// One more in front while the pages are turned.
	original := slices.Clone(all)
	serve(true, true, func(skip int) {
		if skip == 10 {
			all = append([]string{"new"}, original...)
		}
	})
	if got, err := list(10); err != nil || !slices.Equal(got, original) {
		t.Errorf("a collection that grows: %v, %v", got, err)
	}
	all = nil
	serve(true, true, nil)
	for _, page := range []int{0, 10} {
		if got, err := list(page); err != nil || got != nil {
			t.Errorf("nothing, in pages of %d: %v, %v", page, got, err)
		}
	}
	all = original
	stop := errors.New("enough")
	if err := c.List(t.Context(), pools, nil, 5, func(json.RawMessage) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller: %v", err)
	}
	if err := c.List(t.Context(), pools, nil, -1, nil); err == nil {
		t.Error("a negative page was asked for")
	}
}
