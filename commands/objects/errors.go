package objects

import (
	"fmt"
	"strings"

	"github.com/docker-rd/docker-rd/internal/nearest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A KindError says that a word names no kind.
type KindError struct{ Word string }

func (e *KindError) Error() string { return fmt.Sprintf("unknown kind %q", e.Word) }

// A FilterError says that a kind has no such filter, or that the mirror can't answer it.
type FilterError struct {
	Kind       *Kind
	Name       string
	Unanswered bool
}

func (e *FilterError) Error() string {
	if e.Unanswered {
		return fmt.Sprintf("filter %q can't be answered from the mirror", e.Name)
	}
	return fmt.Sprintf("%s have no filter %q", e.Kind.Kind, e.Name)
}

// A NotFoundError says that a word names no object of an instance.
type NotFoundError struct {
	Kind  *Kind
	Word  string
	State *state.State
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("no such %s: %q", e.Kind.singular, e.Word) }

// An AmbiguousError says that a word may name several objects.
type AmbiguousError struct {
	Kind *Kind
	Word string
	Keys []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d %s begin with %q", len(e.Keys), e.Kind.Kind, e.Word)
}

// Near returns the kinds whose names the word may be a typo of.
func (e *KindError) Near() []string {
	var near []string
	for _, k := range Kinds() {
		if len(nearest.To(e.Word, append(k.Aliases, string(k.Kind), k.singular))) > 0 {
			near = append(near, string(k.Kind))
		}
	}
	return near
}

// KindNames lists the kinds for a message.
func KindNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k.Kind))
	}
	return strings.Join(names, ", ")
}
