package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// get requests a resource by its path, in which a name may be anything, and decodes the answer into v.
func get(ctx context.Context, cli *endpoint.Client, path string, query url.Values, v any) error {
	resp, err := cli.Get(ctx, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.UnmarshalRead(resp.Body, v, liberal); err != nil {
		return fmt.Errorf("read the answer for %s: %w", path, err)
	}
	return nil
}

// liberal accepts duplicate names and invalid UTF-8, which engines may send.
var liberal = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// errNoIdentity says that an answer has no id.
var errNoIdentity = errors.New("the engine answers with an object that has no identity")

// An answer of the engine's becomes one of our objects.
type answer[T any] interface{ object() (T, error) }

// listOf returns what lists objects of a kind. An answer without an identity is none.
func listOf[A answer[T], T any](cli *endpoint.Client, path string, query url.Values, k *kind[T]) func(context.Context) ([]any, error) {
	return func(ctx context.Context) ([]any, error) {
		var answers []A
		if err := get(ctx, cli, path, query, &answers); err != nil {
			return nil, err
		}
		return converted(answers, k)
	}
}

func converted[A answer[T], T any](answers []A, k *kind[T]) ([]any, error) {
	objects := make([]any, 0, len(answers))
	for _, a := range answers {
		object, err := a.object()
		if err != nil {
			return nil, err
		}
		if k.key(&object) != "" {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// oneOf returns an inspect function.
func oneOf[A answer[T], T any](cli *endpoint.Client, path string, k *kind[T]) func(context.Context, string) (any, error) {
	return func(ctx context.Context, id string) (any, error) {
		var a A
		if err := get(ctx, cli, fmt.Sprintf(path, id), nil, &a); err != nil {
			return nil, err
		}
		object, err := a.object()
		if err == nil && k.key(&object) == "" {
			err = errNoIdentity
		}
		return object, err
	}
}

func listVolumes(cli *endpoint.Client) func(context.Context) ([]any, error) {
	return func(ctx context.Context) ([]any, error) {
		var answer struct{ Volumes []volume }
		if err := get(ctx, cli, "/volumes", nil, &answer); err != nil {
			return nil, err
		}
		return converted(answer.Volumes, volumes)
	}
}
