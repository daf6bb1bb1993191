// Package dashboard serves one local page that shows all instances live.
//
// Its address contains a token and works on this machine only. The page receives the state files
// as server-sent events; page.html shows how programs can build on them.
package dashboard

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

//go:embed page.html
var pageSource string

// page is parsed when needed: most commands do not.
var page = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageSource)) })

// shutdownTimeout is how long open requests get at the end.
const shutdownTimeout = 2 * time.Second

// Options say what to serve.
type Options struct {
	board.Board
	// AllowActions lets the page act on objects. Else it is read-only.
	AllowActions bool
	// Log must not be nil.
	Log *slog.Logger
}

// A Server serves the page.
type Server struct {
	Options
	listener net.Listener
	token    string
	host     string // the Host header that requests must have
	code     string // of OnceURL
	opened   atomic.Bool
}

// Listen makes a server on an address such as "127.0.0.1:0". It refuses addresses that are not
// loopback. The caller calls Serve.
func Listen(address string, o Options) (*Server, error) {
	at, err := netip.ParseAddrPort(strings.Replace(address, "localhost:", "127.0.0.1:", 1))
	if err != nil || !at.Addr().IsLoopback() {
		return nil, failure.Refuse("address %q: the dashboard needs a loopback address, such as 127.0.0.1:0 or [::1]:0", address)
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	return &Server{Options: o, listener: l, token: rand.Text(), code: rand.Text(), host: withoutDefault(l.Addr().String())}, nil
}

// withoutDefault returns a host without the default port, which browsers leave out.
func withoutDefault(host string) string { return strings.TrimSuffix(host, ":80") }

// URL returns the page's address, with the token. It gives access to everything.
func (s *Server) URL() string { return "http://" + s.host + "/?token=" + s.token }

// OnceURL returns an address that leads to the page once. It is for the command line of another
// program, which all users can read.
func (s *Server) OnceURL() string { return "http://" + s.host + oncePath + "?code=" + s.code }

const oncePath = "/once"

// Serve serves the page until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.guard(s.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(late)
	<-ended
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("POST /actions", s.act)
	return mux
}

// guard refuses requests without the token, and those of other sites' pages, which a browser lets
// send requests here, also by a name of theirs that resolves to a loopback address.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		origin := r.Header.Get("Origin")
		switch {
		case withoutDefault(r.Host) != s.host:
			http.Error(w, "The dashboard has another address.", http.StatusMisdirectedRequest)
		case origin != "" && origin != "http://"+s.host, r.Method != http.MethodGet && origin == "":
			http.Error(w, "Other pages may not use the dashboard.", http.StatusForbidden)
		case r.URL.Path == oncePath:
			s.once(w, r)
		case !same(r.URL.Query().Get("token"), s.token):
			http.Error(w, "The token is missing or wrong. Open the address that `docker rd dashboard` printed.", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// once leads the first who has the code to the page.
func (s *Server) once(w http.ResponseWriter, r *http.Request) {
	if !same(r.URL.Query().Get("code"), s.code) || !s.opened.CompareAndSwap(false, true) {
		http.Error(w, "This address works only once. Open the one that `docker rd dashboard` printed.", http.StatusForbidden)
		return
	}
	http.Redirect(w, r, s.URL(), http.StatusSeeOther)
}

// same compares secrets in a time that tells nothing.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; script-src 'nonce-%[1]s'; style-src 'nonce-%[1]s'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	data := struct {
		Nonce, Token string
		Actions      bool
	}{nonce, s.token, s.AllowActions}
	if err := page().Execute(w, data); err != nil {
		s.Log.Warn("page not sent", "error", err)
	}
}

type action struct {
	Instance string     `json:"instance"`
	Kind     state.Kind `json:"kind"`
	ID       string     `json:"id"`
	Action   string     `json:"action"`
}

func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	if !s.AllowActions {
		http.Error(w, "The dashboard is read-only. `docker rd dashboard --allow-actions` allows actions.", http.StatusForbidden)
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		http.Error(w, "The request is not JSON.", http.StatusUnsupportedMediaType)
		return
	}
	const limit = 4 << 10
	var a action
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(&a); err != nil {
		http.Error(w, fmt.Sprintf("The request can't be read: %v", err), http.StatusBadRequest)
		return
	}
	if err := s.Act(r.Context(), a.Instance, a.Kind, a.ID, a.Action); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
