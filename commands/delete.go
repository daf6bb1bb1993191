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
		ValidArgsFunction: completing(a.kindWords),
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
	err = a.find(ctx, i, func(s *state.State) (err error) {
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
	return a.withProgress(o.progress.value, func(t reporter) error {
		return (&deleter{app: a, deleteOptions: o, inst: i, kind: k, where: where, reporter: t}).run(ctx, asked)
	})
}

// A deleter asks for deletions of one kind, or cancels them.
type deleter struct {
	*app
	deleteOptions
	inst     *instance.Instance
	kind     *objects.Kind
	where    string // for messages, see [choice.where]
	reporter reporter
}

func (d *deleter) run(ctx context.Context, asked []requests.Request) error {
	refusals := make(chan refused)
	if d.wait {
		for _, r := range asked {
			d.step(r).live(fmt.Sprintf("Deletion of %s is requested%s", d.text(r), d.where), d.text(r)+" is not deleted")
		}
		go tellRefusals(ctx, d.inst, asked, refusals)
	}
	// All are asked for before the first is waited for.
	ends := make([]chan error, len(asked))
	for n, r := range asked {
		ends[n] = make(chan error, 1)
		go func() { ends[n] <- d.request(ctx, r) }()
	}
	done := "done"
	if d.cancel {
		done = "cancelled"
	}
	var errs []error
	var left []string
	for n, r := range asked {
		err := d.await(ends[n], refusals)
		if err == nil {
			d.step(r).did(fmt.Sprintf("Deletion of %s is %s%s", d.text(r), done, d.where))
			continue
		}
		errs = append(errs, fmt.Errorf("delete %s: %w", d.text(r), err))
		if _, stays := errors.AsType[*staysError](err); stays {
			left = append(left, shellQuote(r.Name))
		}
	}
	if len(left) == 0 {
		return errors.Join(errs...)
	}
	return failure.WithHint(errors.Join(errs...), "`docker-rd delete%s --cancel %s %s` cancels %s",
		d.hinter().flag(d.inst.Name), d.kind.Kind, strings.Join(left, " "), them(left))
}

// await waits for the end of a request, and shows why any of them takes long.
func (d *deleter) await(end <-chan error, refusals <-chan refused) error {
	for {
		select {
		case err := <-end:
			return err
		case r := <-refusals:
			d.step(r.request).doing(fmt.Sprintf("Deletion of %s waits: %s", d.text(r.request), r.why), d.text(r.request)+" is not deleted")
		}
	}
}

func (d *deleter) step(r requests.Request) reporter {
	return d.reporter.of(d.inst.Name, string(d.kind.Kind)+"/"+r.Name)
}

func (d *deleter) text(r requests.Request) string { return d.kind.Text(r.Name) }

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
func (d *deleter) request(ctx context.Context, r requests.Request) error {
	if d.cancel {
		r.Type = requests.RequestCancel
	}
	r.First = !d.wait
	outcome, err := client.Request(ctx, d.inst, r)
	switch {
	case d.cancel && err != nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		return &staysError{fmt.Errorf("%w%s", err, lastRefusal(d.inst, r))}
	case ctx.Err() != nil && err != nil:
		return &staysError{failure.WithCode(fmt.Errorf("interrupted%s (it stays requested)", lastRefusal(d.inst, r)), failure.CodeInterrupted)}
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
