package config

import "fmt"

// nearest gives the candidate that word is most likely a misspelling of; empty: none
// is near.
func nearest(word string, candidates []string) string {
	best, least := "", max(len(word)/3, 1)+1
	for _, c := range candidates {
		if len(c) > len(word)+least || len(word) > len(c)+least {
			continue
		}
		if d := distance(word, c); d < len(word) && (d < least || d == least && best != "" && c < best) {
			best, least = c, d
		}
	}
	return best
}

// Meant is the end of a message about an unknown word: "; did you mean tcp?", or nothing.
func Meant(word string, candidates []string) string { return meant(word, candidates) }

// meant is the end of a message about an unknown word.
func meant(word string, candidates []string) string {
	if n := nearest(word, candidates); n != "" {
		return fmt.Sprintf("; did you mean %s?", n)
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour on the way from a to b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
