package dashboard

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Browsers leave out the default port.
func TestDefaultPort(t *testing.T) {
	s := &Server{Options: Options{Log: slog.New(slog.DiscardHandler)}, token: "t", host: withoutDefault("127.0.0.1:80")}
	for _, host := range []string{"127.0.0.1", "127.0.0.1:80"} {
		req := httptest.NewRequest(http.MethodGet, "http://"+host+"/?token=t", nil)
		req.Header.Set("Origin", "http://127.0.0.1")
		resp := httptest.NewRecorder()
		if s.guard(s.routes()).ServeHTTP(resp, req); resp.Code != http.StatusOK {
			t.Errorf("host %s: status %d, want 200: %s", host, resp.Code, resp.Body)
		}
	}
}
