// Package failure gives errors what a command line needs beside their text: an
// exit status and a hint.
//
// Every package below commands returns ordinary errors; only where the kind of a
// failure or its remedy is known does it use this package. The root command reads
// both back with [Code] and [Hint] and is the only one to print them.
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
	CodeRefused     = 3   // a value or a request that is not possible
	CodeTimeout     = 4   // the time was up
	CodeUsage       = 125 // wrong usage of the command line
	CodeNotRunnable = 126 // run: the command is there and can't be executed
	CodeNotFound    = 127 // run: there is no such command
	CodeInterrupted = 130 // Ctrl-C
	CodeClosed      = 141 // nobody reads the output any more: 128+SIGPIPE, as in shells
)

// codeError adds an exit status, hintError a remedy. Both keep the text of the
// error they wrap.
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

// Refuse returns an error for a value or a request that is not possible (exit status 3).
// Format and args are those of [fmt.Errorf].
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

// WithHint returns err with a remedy, one line without a full stop that completes
// "hint: …"; nil stays nil. The outermost hint wins.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// Hint returns the remedy of err, or ""; of one that was made by [Join] the first.
func Hint(err error) string {
	if h, ok := errors.AsType[*hintError](err); ok {
		return h.hint
	}
	return ""
}

// Parts returns what err was joined of by [Join], else err alone.
func Parts(err error) []error {
	if j, ok := errors.AsType[joined](err); ok {
		return j
	}
	return []error{err}
}

// joined are errors that are told at once.
type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }

// Join returns an error for all that is wrong at once: one line, with the hints of each.
// It is nil where there is none, and the only one where there is one.
func Join(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

// Code returns the exit status for err: 0 for nil, the status it was given, that of
// a context that ended, or [CodeFailed].
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
