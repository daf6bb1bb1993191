package failure

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestCode(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"plain", errors.New("x"), CodeFailed},
		{"refused, wrapped", fmt.Errorf("start: %w", Refuse("driver %q", "x")), CodeRefused},
		{"usage", Usage("unknown flag"), CodeUsage},
		{"timeout", Timeout("not ready after %s", "2m"), CodeTimeout},
		{"interrupted", fmt.Errorf("wait: %w", context.Canceled), CodeInterrupted},
		{"deadline", fmt.Errorf("wait: %w", context.DeadlineExceeded), CodeTimeout},
		{"the outer status wins", WithCode(Refuse("x"), 7), 7},
		{"a hint keeps the status", WithHint(Refuse("x"), "do y"), CodeRefused},
	} {
		if got := Code(tc.err); got != tc.want {
			t.Errorf("%s: Code = %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestHint(t *testing.T) {
	err := fmt.Errorf("outer: %w", WithHint(WithHint(errors.New("inner"), "first"), "second %d", 2))
	if got, want := Hint(err), "second 2"; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
	if got, want := err.Error(), "outer: inner"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	if Hint(errors.New("plain")) != "" || WithHint(nil, "x") != nil || WithCode(nil, 3) != nil {
		t.Error("an error without a hint has one, or nil became an error")
	}
}

func TestJoin(t *testing.T) {
	one, two := WithHint(Refuse("one"), "first"), WithHint(Refuse("two"), "second")
	err := fmt.Errorf("outer: %w", Join([]error{one, two, Refuse("three"), one}))
	if got, want := err.Error(), "outer: one; two; three; one"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	if got := Parts(err); len(got) != 4 || Hint(got[1]) != "second" {
		t.Errorf("Parts = %q", got)
	}
	if got := Code(err); got != CodeRefused {
		t.Errorf("Code = %d, want %d", got, CodeRefused)
	}
	if Join(nil) != nil || Join([]error{one}) != one || len(Parts(one)) != 1 {
		t.Error("none and one are not what they were")
	}
}
