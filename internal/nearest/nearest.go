// Package nearest finds what somebody meant who mistyped a name.
package nearest

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// To returns the names that word may be a typo of, the nearest first: those it begins, and
// those that few edits make of it, which are insertions, deletions, substitutions and
// transpositions of neighbours: two, or one where the word is short.
func To(word string, names []string) []string {
	type candidate struct {
		name  string
		edits int
	}
	var near []candidate
	for _, name := range names {
		edits := Edits(strings.ToLower(word), strings.ToLower(name))
		switch {
		case word == "" || word == name:
		case edits <= limit(word):
			near = append(near, candidate{name, edits})
		case strings.HasPrefix(name, word):
			near = append(near, candidate{name, limit(word)})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) })
	found := make([]string, len(near))
	for i, c := range near {
		found[i] = c.name
	}
	return found
}

// limit is how many edits make a typo: with more, short names all look alike.
func limit(word string) int {
	if utf8.RuneCountInString(word) < 5 {
		return 1
	}
	return 2
}

// Edits returns how many edits make b of a: the optimal string alignment distance.
func Edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			substitution := rows[i-1][j-1]
			if x[i-1] != y[j-1] {
				substitution++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, substitution)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
