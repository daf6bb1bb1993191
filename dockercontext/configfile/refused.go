package configfile

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// A Reason says in one stable word why a file is refused, or what Check found.
type Reason string

// Reasons for which nothing is written.
const (
	InvalidJSON  Reason = "InvalidJSON"  // a syntax error, at Line and Column
	BOM          Reason = "BOM"          // begins with a byte-order mark
	TrailingData Reason = "TrailingData" // more than one JSON value, the next at Line and Column
	WrongType    Reason = "WrongType"    // docker can't decode the value at Line and Column
	NotRegular   Reason = "NotRegular"   // a directory, a device, a pipe, or a circle of links
	HardLink     Reason = "HardLink"     // has other names, which a new file would not have
	BindMount    Reason = "BindMount"    // is a mount point, which can't be replaced
	ReadOnly     Reason = "ReadOnly"     // the file, its directory or its file system is read-only
	Unreadable   Reason = "Unreadable"   // can't be read
	Owner        Reason = "Owner"        // the new file can't be given to the owner of the old one
	NoSpace      Reason = "NoSpace"      // no space, or quota, for the new file
)

// Findings of Check that do not keep Update from working.
const (
	DuplicateKey Reason = "DuplicateKey" // docker takes the last one
	Interrupted  Reason = "Interrupted"  // a process was killed while it wrote; Recover finishes
	Rescued      Reason = "Rescued"      // Path holds a version of the file that could not be put back, see Recover
)

// A RefusedError says why a configuration file is not edited. Nothing was written.
// Its exit status is [failure.CodeRefused].
type RefusedError struct {
	Path         string // the file itself, symbolic links resolved
	Reason       Reason
	Line, Column int    // from 1, the column in characters; 0 where there is no place
	Detail       string // for people
	Err          error  // the system's, or nil
}

func (e *RefusedError) Error() string {
	place := ""
	if e.Line > 0 {
		place = fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Err != nil {
		return fmt.Sprintf("docker configuration %q%s: %s: %v", e.Path, place, e.Detail, e.Err)
	}
	return fmt.Sprintf("docker configuration %q%s: %s", e.Path, place, e.Detail)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// refuse gives e the exit status.
func refuse(e *RefusedError) error { return failure.WithCode(e, failure.CodeRefused) }

// cannotWrite wraps a failure to do what: refusals by the system become a *[RefusedError].
func cannotWrite(target, what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return err
	}
	reason := systemReason(err)
	if reason == "" && errors.Is(err, fs.ErrPermission) {
		reason = ReadOnly
	}
	if reason == "" {
		return fmt.Errorf("docker configuration %q: %s: %w", target, what, err)
	}
	return refuse(&RefusedError{Path: target, Reason: reason, Detail: what, Err: err})
}
