package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

type deleteOptions struct {
	longOptions
	wait   bool
	cancel bool
}

func (a *app) newDelete() *cobra.Command {
	var o deleteOptions
	cmd := &cobra.Command{
		Use:   "delete [OPTIONS] KIND NAME|ID [NAME|ID...]",
		Short: "Delete containers, images, volumes or networks",
		Long: `Delete containers, images, volumes or networks. The supervisor does it.

The engine may refuse, for example if a container uses the image. The command then fails,
but the deletion stays requested, and is tried again until it succeeds. "get" and "status"
show why it was refused; --cancel cancels it. An image that is named by a reference loses
only that reference, as with "docker rmi".`,
		Example: `  docker rd delete volumes data --wait
  docker rd delete images app:1 --cancel`,
		Args:              takes(2, many),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runDelete(cmd.Context(), o, args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.wait, "wait", false, "Wait until they are gone")
	flags.BoolVar(&o.cancel, "cancel", false, "Cancel deletions that are requested")
	o.add(cmd, 2*time.Minute)
	return cmd
}

func (a *app) runDelete(ctx context.Context, o deleteOptions, word string, words []string) error {
	if o.wait && o.cancel {
		return failure.Usage("--wait and --cancel exclude each other")
	}
	k, err := objects.ParseKind(word)
	if err != nil {
		return err
	}
	if k.Kind == state.Namespaces {
		return failure.Refuse("%s can't be deleted", k.Text(words[0]))
	}
	i, where, err := a.loadRunning()
	if err != nil {
		return err
	}
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	asked := make([]requests.Request, len(words))
	err = find(ctx, i, func(s *state.State) (err error) {
		for n, word := range words {
			if asked[n], err = deletion(s, k, word); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return named("delete", k.Text(words[0]), err)
	}
	return a.withProgress(o.progress.value, func(t reporter) error { return deleteAll(ctx, i, o, k, asked, t, where) })
}

func deleteAll(ctx context.Context, i *instance.Instance, o deleteOptions, k *objects.Kind, asked []requests.Request, t reporter, where string) error {
	step := func(r requests.Request) reporter { return t.of(i.Name, string(k.Kind)+"/"+r.Name) }
	refusals := make(chan refused)
	if o.wait {
		for _, r := range asked {
			step(r).live(fmt.Sprintf("Deletion of %s is requested%s", k.Text(r.Name), where), k.Text(r.Name)+" is not deleted")
		}
		go tellRefusals(ctx, i, asked, refusals)
	}
	// All are asked for before the first is waited for.
	ends := make([]chan error, len(asked))
	for n, r := range asked {
		ends[n] = make(chan error, 1)
		go func() { ends[n] <- request(ctx, i, o, r) }()
	}
	await := func(end <-chan error) error {
		for {
			select {
			case err := <-end:
				return err
			case r := <-refusals:
				step(r.request).doing(fmt.Sprintf("Deletion of %s waits: %s", k.Text(r.request.Name), r.why), k.Text(r.request.Name)+" is not deleted")
			}
		}
	}
	done := "done"
	if o.cancel {
		done = "cancelled"
	}
	var errs []error
	var left []string
	for n, r := range asked {
		err := await(ends[n])
		if err == nil {
			step(r).did(fmt.Sprintf("Deletion of %s is %s%s", k.Text(r.Name), done, where))
			continue
		}
		errs = append(errs, fmt.Errorf("delete %s: %w", k.Text(r.Name), err))
		if _, stays := errors.AsType[*staysError](err); stays {
			left = append(left, shellQuote(r.Name))
		}
	}
	if len(left) == 0 {
		return errors.Join(errs...)
	}
	return hinted(errors.Join(errs...), func(h hinter) string {
		return fmt.Sprintf("`docker-rd delete%s --cancel %s %s` cancels %s", h.flag(i.Name), k.Kind, strings.Join(left, " "), them(left))
	})
}

func them(words []string) string {
	if len(words) == 1 {
		return "it"
	}
	return "them"
}

// A staysError says why a deletion is not done but stays requested.
type staysError struct{ error }

func (e *staysError) Unwrap() error { return e.error }

func deletion(s *state.State, k *objects.Kind, word string) (requests.Request, error) {
	key, err := k.One(s, word)
	if err != nil {
		return requests.Request{}, err
	}
	r, err := requests.Delete(s, k.Kind, key)
	r.Name = word
	if k.Kind == state.Images {
		_, r.Reference = objects.ImageReference(s, word)
	}
	return r, err
}

// request asks for a deletion, or cancels it, and waits for the outcome; without --wait, only
// for the engine's first answer.
func request(ctx context.Context, i *instance.Instance, o deleteOptions, r requests.Request) error {
	if o.cancel {
		r.Type = requests.RequestCancel
	}
	r.First = !o.wait
	outcome, err := client.Request(ctx, i, r)
	switch {
	case o.cancel && err != nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		return &staysError{fmt.Errorf("%w%s", err, lastRefusal(i, r))}
	case ctx.Err() != nil && err != nil:
		return &staysError{failure.WithCode(fmt.Errorf("interrupted%s (it stays requested)", lastRefusal(i, r)), failure.CodeInterrupted)}
	case err != nil:
		return err
	case outcome.State == requests.OutcomeRefused:
		return &staysError{fmt.Errorf("%s (it stays requested)", outcome.Error)}
	case outcome.State == requests.OutcomeCancelled:
		return errors.New("it was cancelled")
	case outcome.State != state.ActionSucceeded:
		return errors.New(outcome.Error)
	}
	return nil
}

// refused says why a deletion is not done yet.
type refused struct {
	request requests.Request
	why     string
}

// tellRefusals sends why deletions are not done yet, until ctx ends.
func tellRefusals(ctx context.Context, i *instance.Instance, asked []requests.Request, refusals chan<- refused) {
	told := map[string]string{}
	_ = client.FollowObjects(ctx, i, func(o instance.Observation) (bool, error) {
		for _, r := range asked {
			if why := refusal(o.State, r); why != "" && why != told[r.Name] {
				told[r.Name] = why
				select {
				case refusals <- refused{r, why}:
				case <-ctx.Done():
					return false, nil
				}
			}
		}
		return true, nil
	})
}

// lastRefusal returns the engine's last refusal of a deletion, for the end of a message.
func lastRefusal(i *instance.Instance, r requests.Request) string {
	s, _ := state.Read(i.Paths.StateFile())
	if why := refusal(s, r); why != "" {
		return ": " + why
	}
	return ""
}

// refusal returns the engine's last refusal of a deletion, "" if none is known. S may be nil.
func refusal(s *state.State, r requests.Request) string {
	if s == nil {
		return ""
	}
	for _, d := range s.Deletions() {
		if d.Kind == r.Kind && d.ID == r.Key && (r.Kind != state.Images || d.Name == cmp.Or(r.Reference, r.Key)) {
			return d.Error
		}
	}
	return ""
}
