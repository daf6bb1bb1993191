// Package failure adds to errors what a command line needs: an exit status and a hint.
//
// Packages return ordinary errors, and use this package where they know the status or the remedy.
// Only the root command reads both with [Code] and [Hint], and prints them.
package failure

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Exit statuses of docker rd. `docker rd run` passes on the status of its command
// and adds 126 and 127, as shells do.
const (
	CodeFailed      = 1   // anything that has no status of its own
	CodeRefused     = 3   // an impossible value or request
	CodeTimeout     = 4   // timed out
	CodeUsage       = 125 // wrong usage of the command line
	CodeNotRunnable = 126 // run: the command exists but can't be executed
	CodeNotFound    = 127 // run: there is no such command
	CodeInterrupted = 130 // Ctrl-C
	CodeClosed      = 141 // the reader of the output is gone: 128+SIGPIPE, as in shells
)

// codeError adds an exit status, hintError a remedy. Both keep the text of the wrapped error.
type codeError struct {
	error
	code int
}

func (e *codeError) Unwrap() error { return e.error }

type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

// Refuse is [fmt.Errorf] for an impossible value or request (exit status 3).
func Refuse(format string, args ...any) error {
	return &codeError{fmt.Errorf(format, args...), CodeRefused}
}

// Usage returns an error for wrong usage of the command line (exit status 125).
func Usage(format string, args ...any) error {
	return &codeError{fmt.Errorf(format, args...), CodeUsage}
}

// Timeout returns an error for a wait that timed out (exit status 4).
func Timeout(format string, args ...any) error {
	return &codeError{fmt.Errorf(format, args...), CodeTimeout}
}

// WithCode returns err with the exit status code; nil stays nil.
func WithCode(err error, code int) error {
	if err == nil {
		return nil
	}
	return &codeError{err, code}
}

// WithHint returns err with a remedy: one line to follow "hint: ", without a full stop. Nil stays
// nil. The outermost hint wins.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// Hint returns the remedy of err, or ""; of joined errors the first.
func Hint(err error) string {
	if h, ok := errors.AsType[*hintError](err); ok {
		return h.hint
	}
	return ""
}

// Parts returns the errors in one of [Join], else err alone.
func Parts(err error) []error {
	if j, ok := errors.AsType[joined](err); ok {
		return j
	}
	return []error{err}
}

// joined is the error of [Join].
type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }

// Join returns one error for several, with one line and the hints of each: nil for none, and the
// error itself for one.
func Join(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

// Code returns the exit status of err: 0 for nil, its own, that of a context's error, or
// [CodeFailed].
func Code(err error) int {
	if err == nil {
		return 0
	}
	if c, ok := errors.AsType[*codeError](err); ok {
		return c.code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return CodeInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimeout
	}
	return CodeFailed
}
