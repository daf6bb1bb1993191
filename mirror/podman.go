package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// noAddress is what podman (4.3 at least) answers for an address that there is none of,
// as for the gateway of an internal network.
var noAddress = regexp.MustCompile(`:\s*"(<|\\u003c)nil(>|\\u003e)"`)

// listNetworks lists the networks of an engine whose answer docker's client can't read
// for want of an address. That client hands out nothing of an answer it can't read, so
// the engine is asked once more.
func listNetworks(ctx context.Context, cli *client.Client) ([]network.Summary, error) {
	dial := cli.Dialer()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/v"+cli.ClientVersion()+"/networks", nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the engine answers %s", resp.Status)
	}
	var answer json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	var list []network.Summary
	err = json.Unmarshal(noAddress.ReplaceAll(answer, []byte(`:""`)), &list)
	return list, err
}
