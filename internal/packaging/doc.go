// Package packaging is how docker rd gets to people.
package packaging
