//go:build unix

// Command prog is the one program of the tests' container images, which run on Linux.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	switch arg(1) {
	case "sleep": // until told to stop, or for so many milliseconds and then exit with a status
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		d, err := strconv.Atoi(arg(2))
		if err != nil {
			d = 1 << 40
		}
		status, _ := strconv.Atoi(arg(3))
		select {
		case <-stop:
		case <-time.After(time.Duration(d) * time.Millisecond):
			os.Exit(status)
		}
	case "http": // answers hello at an address, until told to stop
		http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello") })
		go func() { end(http.ListenAndServe(arg(2), nil)) }()
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
	case "check": // healthy while /healthy is there
		if _, err := os.Stat("/healthy"); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "touch":
		_ = os.WriteFile(arg(2), nil, 0o644)
	case "mkdir": // a directory that belongs to a user
		uid, _ := strconv.Atoi(arg(3))
		end(errors.Join(os.Mkdir(arg(2), 0o755), os.Chown(arg(2), uid, uid)))
	case "rm":
		_ = os.Remove(arg(2))
	case "eat": // memory, until it is killed
		var hoard [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hoard = append(hoard, b)
			_ = hoard
		}
	case "spin": // busy for so many milliseconds
		ms, err := strconv.Atoi(arg(2))
		for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); {
		}
		end(err)
	case "fork": // starts so many processes, and sleeps
		n, _ := strconv.Atoi(arg(2))
		for range n {
			if err := exec.Command("/proc/self/exe", "sleep").Start(); err != nil {
				fmt.Println(err)
				break
			}
		}
		fmt.Println("forked")
		time.Sleep(time.Hour)
	case "exit":
		status, _ := strconv.Atoi(arg(2))
		os.Exit(status)
	case "cat":
		data, err := os.ReadFile(arg(2))
		_, _ = os.Stdout.Write(data)
		end(err)
	case "copy": // standard input to standard output, and then says that it has ended
		n, err := io.Copy(os.Stdout, os.Stdin)
		fmt.Printf("\ncopied %d bytes\n", n)
		end(err)
	case "serve": // greets each connection to, and echoes each datagram for, a port; says who sent "who"
		end(serve(arg(2)))
	case "who": // tells each connection to a port who it is
		end(who(arg(2)))
	case "datagram": // prints what an address answers to the datagram "who"
		end(datagram(arg(2)))
	case "pour": // for a port: sends so many bytes as a connection's first line says, or counts what comes after "0"
		end(pour(arg(2)))
	case "dial": // prints what an address answers
		end(dial(arg(2)))
	case "ask": // prints what a unix socket answers to a GET of a path
		end(ask(arg(2), arg(3)))
	case "lookup": // prints the addresses of a name
		addrs, err := net.LookupHost(arg(2))
		for _, a := range addrs {
			fmt.Println(a)
		}
		end(err)
	case "ls":
		entries, err := os.ReadDir(arg(2))
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		end(err)
	case "daemon": // leaves a process of another session behind and sleeps
		cmd := exec.Command("/proc/self/exe", "sleep")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			end(err)
		}
		fmt.Println("up")
		time.Sleep(time.Hour)
	case "sigterm-proof":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("up")
		time.Sleep(time.Hour)
	default:
		end(fmt.Errorf("unknown command %q", arg(1)))
	}
}

// end ends the program; an error is its last word.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(port string) error {
	if err := echo(port); err != nil {
		return err
	}
	return accept(port, func(c net.Conn) {
		name, _ := os.Hostname()
		_, _ = io.WriteString(c, "hello from "+name+"\n")
	})
}

// accept calls answer with each connection, concurrently, and closes it.
func accept(port string, answer func(net.Conn)) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			answer(c)
		}()
	}
}

// echo echoes datagrams, in the background.
func echo(port string) error {
	udp, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) == "who" {
				n = copy(buf, from.String())
			}
			_, _ = udp.WriteTo(buf[:n], from)
		}
	}()
	return nil
}

func who(port string) error {
	if err := echo(port); err != nil {
		return err
	}
	return accept(port, func(c net.Conn) { _, _ = fmt.Fprintln(c, c.RemoteAddr()) })
}

func pour(port string) error {
	return accept(port, func(c net.Conn) {
		in := bufio.NewReader(c)
		var n int64
		if _, err := fmt.Fscanln(in, &n); err != nil {
			return
		}
		if n == 0 {
			n, _ = io.Copy(io.Discard, in)
			_, _ = fmt.Fprintln(c, n)
			return
		}
		zeros := make([]byte, 1<<16)
		for ; n > 0; n -= int64(len(zeros)) {
			if _, err := c.Write(zeros[:min(n, int64(len(zeros)))]); err != nil {
				return
			}
		}
	})
}

func datagram(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "who"); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	_, _ = os.Stdout.Write(buf[:n])
	return err
}

func ask(socket, path string) error {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://engine" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

func dial(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(os.Stdout, c)
	return err
}

func arg(i int) string {
	if i < len(os.Args) {
		return os.Args[i]
	}
	return ""
}
