//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// poured is how many bytes are sent through a published port, each way.
const poured = 1 << 30

// ports compares the published ports of docker-rd with those of other engines: of root's with
// docker's own proxy, and of an ordinary user's with RootlessKit's.
func (b *bench) ports(ctx context.Context) (err error) {
	tb := &helper{}
	defer tb.end(&err)
	u, err := b.newUser(tb)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "image")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	rootFS, err := realengine.RootFS(dir)
	if err != nil {
		return err
	}
	image := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(image, rootFS, 0o600); err != nil {
		return err
	}
	var addrs []string
	for n, k := range []kind{{"root's docker-rd", b.dir, b.whole}, {"docker-proxy", b.dir, bare()}, u.kind("docker-rd"), u.kind("rootlesskit")} {
		engine := filepath.Join(k.dir, fmt.Sprintf("p%d", n))
		stop, err := k.start(ctx, engine)
		if stop != nil {
			tb.Cleanup(func() {
				if err := stop(); err != nil {
					tb.Errorf("stop %s: %w", k.name, err)
				}
			})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		addr := fmt.Sprintf("127.0.0.1:%d", 18100+n)
		if err := b.pour(ctx, engine, image, addr); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		addrs = append(addrs, addr)
	}
	for _, c := range []struct {
		what   string
		rounds int
		target float64
		do     func(addr string) error
	}{
		{fmt.Sprintf("%d MiB from a container", poured>>20), b.rounds, 1.1, func(addr string) error { return drink(addr, poured) }},
		{fmt.Sprintf("%d MiB to a container", poured>>20), b.rounds, 1.1, feed},
		{"a connection, and an answer", 100 * b.rounds, 1.5, func(addr string) error { return drink(addr, 1) }},
	} {
		var measure []func() (time.Duration, error)
		for _, addr := range addrs {
			measure = append(measure, func() (time.Duration, error) {
				began := time.Now()
				err := c.do(addr)
				return time.Since(began), err
			})
		}
		times, err := inTurns(c.rounds, measure...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		b.table.ratio("root's port, "+c.what+" / docker-proxy", times[0], times[1], c.target)
		b.table.ratio("user's port, "+c.what+" / RootlessKit's", times[2], times[3], 1)
		b.table.ratio("user's port, "+c.what+" / docker-proxy", times[2], times[1], c.target)
	}
	return nil
}

// pour runs a container in the engine with its files below dir that pours at the address.
func (b *bench) pour(ctx context.Context, dir, image, addr string) error {
	socket := filepath.Join(dir, bareSocket)
	if _, err := os.Stat(socket); errors.Is(err, os.ErrNotExist) {
		socket = ownSocket(dir)
	}
	h, err := b.newHome("cli")
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"import", image, "pour"}, {"run", "--detach", "--publish", addr + ":80", "pour", "/prog", "pour", "80"}} {
		if _, err := h.time(ctx, "docker", append([]string{"--host", "unix://" + socket}, args...)...); err != nil {
			return err
		}
	}
	for range 500 { // the port answers before the container does
		if err = drink(addr, 1); err == nil {
			return nil
		}
		if err := pause.For(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}

// drink takes so many bytes from a container.
func drink(addr string, n int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, n); err != nil {
		return err
	}
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 64<<10))
	if err == nil && got != n {
		err = fmt.Errorf("%d bytes came, not %d", got, n)
	}
	return err
}

// feed sends bytes to a container until it says that it has all.
func feed(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, 0); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{c}, io.LimitReader(zeros{}, poured), make([]byte, 64<<10)); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	var got int64
	if _, err := fmt.Fscanln(c, &got); err != nil || got != poured {
		return fmt.Errorf("%d bytes came, not %d: %w", got, poured, err)
	}
	return nil
}
