// Command app is what runs in the containers of the tests.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var err error
	switch os.Args[1] {
	case "sleep": // until asked to end
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		<-end
	case "serve": // greets each connection to, and echoes each datagram for, a port
		err = serve(os.Args[2])
	case "dial": // prints what an address answers
		err = dial(os.Args[2])
	case "daemon": // leaves a process of another session behind and sleeps
		cmd := exec.Command("/proc/self/exe", "sleep")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err = cmd.Start(); err == nil {
			fmt.Println("up")
			time.Sleep(time.Hour)
		}
	case "sigterm-proof":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("up")
		time.Sleep(time.Hour)
	case "cat":
		var data []byte
		data, err = os.ReadFile(os.Args[2])
		_, _ = os.Stdout.Write(data)
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(port string) error {
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
			_, _ = udp.WriteTo(buf[:n], from)
		}
	}()
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		name, _ := os.Hostname()
		_, _ = io.WriteString(c, "hello from "+name+"\n")
		_ = c.Close()
	}
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
