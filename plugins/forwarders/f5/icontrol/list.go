package icontrol

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

// maxItems bounds a list: more than any device holds.
const maxItems = 1_000_000

// List reads a collection and gives its items one by one. With a page above 0 it asks for so
// many at a time until a page comes that is not full; with 0 it asks once for all.
//
// An item that comes again, because the collection changed between two pages, is given once.
// A page with nothing new ends the list with an error: the device does not turn pages. An
// error of each ends it too.
func (c *Client) List(ctx context.Context, path Path, query url.Values, page int, each func(item json.RawMessage) error) error {
	if page < 0 {
		return fmt.Errorf("list %s: %d items a page", path, page)
	}
	seen := map[string]bool{}
	for skip := 0; ; {
		items, err := c.page(ctx, path, query, page, skip)
		if err != nil {
			return err
		}
		fresh := false
		for _, item := range items {
			id := identity(item)
			if page > 0 && seen[id] {
				continue
			}
			fresh, seen[id] = true, true
			if len(seen) > maxItems {
				return fmt.Errorf("list %s: it has more than %d items", path, maxItems)
			}
			if err := each(item); err != nil {
				return err
			}
		}
		if page == 0 || len(items) < page {
			return nil // a page that is not full is the last
		}
		if !fresh {
			return fmt.Errorf("list %s: the page after %d items has only items that were there before", path, skip)
		}
		skip += len(items)
	}
}

func (c *Client) page(ctx context.Context, path Path, query url.Values, page, skip int) ([]json.RawMessage, error) {
	if page > 0 {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("$top", strconv.Itoa(page))
		query.Set("$skip", strconv.Itoa(skip))
	}
	// An empty collection may come without items.
	var answer struct {
		Items []json.RawMessage `json:"items"`
	}
	r := &request{method: http.MethodGet, path: path, query: query, out: &answer, repeatable: true}
	if err := c.guarded(ctx, r, nil); err != nil {
		return nil, err
	}
	return answer.Items, nil
}

// identity is what tells items apart.
func identity(item json.RawMessage) string {
	var names struct {
		FullPath string `json:"fullPath"`
		SelfLink string `json:"selfLink"`
	}
	if json.Unmarshal(item, &names) == nil {
		if names.SelfLink != "" {
			return names.SelfLink
		}
		if names.FullPath != "" {
			return names.FullPath
		}
	}
	return string(item)
}
