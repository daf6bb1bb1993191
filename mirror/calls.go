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

// listOf returns what lists objects, each made of an answer by convert, which returns ""
// for one that has no identity and is none.
func listOf[A, T any](cli *endpoint.Client, path string, query url.Values, convert func(A) (key string, object T, err error)) func(context.Context) ([]any, error) {
	return func(ctx context.Context) ([]any, error) {
		var answers []A
		if err := get(ctx, cli, path, query, &answers); err != nil {
			return nil, err
		}
		return converted(answers, convert)
	}
}

func converted[A, T any](answers []A, convert func(A) (key string, object T, err error)) ([]any, error) {
	objects := make([]any, 0, len(answers))
	for _, a := range answers {
		key, object, err := convert(a)
		if err != nil {
			return nil, err
		}
		if key != "" {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// oneOf returns an inspect function.
func oneOf[A, T any](cli *endpoint.Client, path string, convert func(A) (key string, object T, err error)) func(context.Context, string) (any, error) {
	return func(ctx context.Context, id string) (any, error) {
		var answer A
		if err := get(ctx, cli, fmt.Sprintf(path, id), nil, &answer); err != nil {
			return nil, err
		}
		key, object, err := convert(answer)
		if err == nil && key == "" {
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
		return converted(answer.Volumes, volume.object)
	}
}
