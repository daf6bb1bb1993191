package endpoint

import (
	"net/http"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/wine"
)

// An error does not show the path of a socket as the host of a URL.
func TestErrorURL(t *testing.T) {
	wine.Skip(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("Api-Version", "1.44")
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	c, err := Endpoint{Host: "unix://" + endpointtest.Unix(t, h)}.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Info(t.Context(), client.InfoOptions{})
	if err == nil || strings.Contains(err.Error(), "%2F") {
		t.Errorf("Info: %v, want an error without the socket", err)
	}
}
