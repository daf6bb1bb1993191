//go:build unix

// Package browser drives a headless Chromium for tests, through the pipe of its DevTools
// protocol: https://chromedevtools.github.io/devtools-protocol/.
package browser

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// A Browser is a running Chromium with one page. It reaches nothing but addresses that are
// numbers, so nothing off this machine.
type Browser struct {
	cmd     *exec.Cmd
	in, out *os.File
	answers *bufio.Reader

	mu      sync.Mutex
	last    int
	session string
}

// Start runs Chromium with its files below dir.
func Start(dir string) (*Browser, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	defer theirOut.Close()
	cmd := exec.Command(program, "--headless", "--remote-debugging-pipe", "--user-data-dir="+dir,
		"--no-sandbox", // it runs as root, and shows pages of ours alone
		"--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--no-proxy-server", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b := &Browser{cmd: cmd, in: in, out: out, answers: bufio.NewReader(out)}
	if err := cmd.Start(); err != nil {
		_, _ = in.Close(), out.Close()
		return nil, err
	}
	return b, nil
}

// Open shows a URL in the page.
func (b *Browser) Open(url string) error {
	var target struct{ TargetID string }
	if err := b.call("Target.createTarget", map[string]any{"url": url}, &target); err != nil {
		return err
	}
	var attached struct{ SessionID string }
	if err := b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return err
	}
	b.session = attached.SessionID
	// Questions that the page asks are answered with yes.
	return b.call("Runtime.evaluate", map[string]any{"expression": "window.confirm = () => true"}, nil)
}

// Resize makes the page so wide and high, in pixels.
func (b *Browser) Resize(width, height int) error {
	return b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Screenshot returns what the page looks like, as PNG.
func (b *Browser) Screenshot() ([]byte, error) {
	var shot struct{ Data []byte }
	err := b.call("Page.captureScreenshot", map[string]any{}, &shot)
	return shot.Data, err
}

// Eval evaluates JavaScript in the page, waits for a promise if it is one, and returns its
// value as JSON.
func (b *Browser) Eval(js string) (string, error) {
	var done struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := b.call("Runtime.evaluate", map[string]any{"expression": js, "returnByValue": true, "awaitPromise": true}, &done)
	if e := done.ExceptionDetails; err == nil && e != nil {
		err = fmt.Errorf("%s: %s", e.Text, e.Exception.Description)
	}
	return string(done.Result.Value), err
}

// call calls a method of the protocol, of the page once there is one.
func (b *Browser) call(method string, params, result any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	message := map[string]any{"id": b.last, "method": method, "params": params}
	if b.session != "" && method != "Target.createTarget" && method != "Target.attachToTarget" {
		message["sessionId"] = b.session
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for {
		line, err := b.answers.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &answer); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		switch {
		case answer.ID != b.last: // an event, of which there are many
		case answer.Error != nil:
			return fmt.Errorf("%s: %w", method, errors.New(answer.Error.Message))
		case result == nil:
			return nil
		default:
			return json.Unmarshal(answer.Result, result)
		}
	}
}

// Close ends Chromium and all that it started.
func (b *Browser) Close() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	_ = b.cmd.Wait()
	_, _ = b.in.Close(), b.out.Close()
}
