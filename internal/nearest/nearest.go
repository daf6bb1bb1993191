// Package nearest finds the names that a typo may have meant.
package nearest

import (
	"strings"
	"unicode/utf8"
)

// To returns the names that word may be a typo of: those at the least distance, see [distance], which
// is at most two, or one for a short word. A name that begins with word is at distance one.
func To(word string, names []string) []string {
	fewest := 1
	if utf8.RuneCountInString(word) > 5 {
		fewest = 2
	}
	var near []string
	for _, name := range names {
		edits := distance(strings.ToLower(word), strings.ToLower(name))
		if strings.HasPrefix(name, word) {
			edits = min(edits, 1)
		}
		if word == "" || word == name || edits > fewest {
			continue
		}
		if edits < fewest {
			fewest, near = edits, nil
		}
		near = append(near, name)
	}
	return near
}

// DidYouMean returns a hint with the suggestions, each after prefix, or otherwise if there are none.
func DidYouMean(suggestions []string, prefix, otherwise string) string {
	if len(suggestions) == 0 {
		return otherwise
	}
	return "did you mean `" + prefix + strings.Join(suggestions, "` or `"+prefix) + "`?"
}

// distance returns the optimal string alignment distance of a and b: the number of insertions,
// deletions, substitutions and transpositions of neighbours.
func distance(a, b string) int {
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
