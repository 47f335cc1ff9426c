// Package spelling finds the existing name that a misspelled name most likely means.
//
// It owns the distance between names. It must not import any package of Tulle. The one idea: a report of a mistake
// names the nearest name that exists.
package spelling

// longest is the length of the longest name that Kubernetes allows after an annotation's prefix. It bounds the work.
const longest = 63

// Nearest returns the candidate with the smallest edit distance from key. ok is false if that distance is more than a
// third of the key's length. Of equally distant candidates it returns the one with the longest common prefix, because
// people shorten the ends of words.
func Nearest(key string, candidates []string) (string, bool) {
	if len(key) > longest {
		return "", false
	}
	best, limit := "", len(key)/3+1
	for _, c := range candidates {
		d := Distance(key, c)
		if d < limit || d == limit && best != "" && commonPrefix(key, c) > commonPrefix(key, best) {
			best, limit = c, d
		}
	}
	return best, best != ""
}

func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// Distance returns the Levenshtein distance in bytes; names are ASCII.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
