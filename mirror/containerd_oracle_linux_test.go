package mirror_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/docker-rd/docker-rd/engine/isolated"
	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestMain(m *testing.M) {
	namespaces.RunHelper()
	os.Exit(m.Run())
}

// containerdHost is a containerd of our own.
type containerdHost struct {
	t           *testing.T
	dir, socket string
	pid         int
}

func startContainerd(t *testing.T) *containerdHost {
	t.Helper()
	realengine.NeedOwn(t)
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's containerd has no control groups: TestScriptContainerd runs it")
	}
	h := &containerdHost{t: t, dir: mirrortest.ShortDir(t)}
	h.socket = filepath.Join(h.dir, "c.sock")
	proxy, _, err := realengine.Built(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := isolated.Config{
		UID: "oracle-" + strings.ToLower(rand.Text()[:8]), Containerd: true, Socket: h.socket, Proxy: proxy,
		DataRoot: filepath.Join(h.dir, "data"), ExecRoot: filepath.Join(h.dir, "exec"), StateDir: filepath.Join(h.dir, "state"),
		LogPath: filepath.Join(h.dir, "log"), Nerdctl: filepath.Join(h.dir, "nerdctl.toml"),
	}
	engine, err := isolated.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // by force
		if _, err := engine.Stop(ended); err != nil {
			t.Error(err)
		}
	})
	h.pid = engine.ID().PID
	h.await("containerd answers", func() error {
		conn, err := net.Dial("unix", h.socket)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return h
}

func (h *containerdHost) await(what string, try func() error) {
	h.t.Helper()
	var err error
	for end := time.Now().Add(mirrortest.Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	h.t.Fatalf("not: %s: %v", what, err)
}

// ctr runs containerd's own command beside it.
func (h *containerdHost) ctr(args ...string) error {
	argv := append([]string{"--target", fmt.Sprint(h.pid), "--mount", "--net", "--cgroup", "ctr", "--address", h.socket}, args...)
	out, err := exec.Command("nsenter", argv...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// want asks containerd, by its own packages, for what the mirror is to have.
func (h *containerdHost) want(ctx context.Context, conn *grpc.ClientConn) (facts []string, err error) {
	namespaces, err := namespacesapi.NewNamespacesClient(conn).List(ctx, &namespacesapi.ListNamespacesRequest{})
	if err != nil {
		return nil, err
	}
	for _, ns := range namespaces.Namespaces {
		facts = append(facts, "namespace "+ns.Name)
		in := metadata.AppendToOutgoingContext(ctx, "containerd-namespace", ns.Name)
		images, err := imagesapi.NewImagesClient(conn).List(in, &imagesapi.ListImagesRequest{})
		if err != nil {
			return nil, err
		}
		digests := map[string]string{}
		for _, i := range images.Images {
			digests[i.Name] = ns.Name + "/" + i.Target.Digest
			facts = append(facts, fmt.Sprintf("image %s is %s", i.Name, digests[i.Name]))
		}
		containers, err := containersapi.NewContainersClient(conn).List(in, &containersapi.ListContainersRequest{})
		if err != nil {
			return nil, err
		}
		for _, c := range containers.Containers {
			is, pid, code, at := state.StateCreated, uint32(0), uint32(0), time.Time{}
			if answer, err := tasksapi.NewTasksClient(conn).Get(in, &tasksapi.GetRequest{ContainerID: c.ID}); err == nil {
				switch p := answer.Process; p.Status {
				case task.Status_RUNNING:
					is, pid = state.StateRunning, p.Pid
				case task.Status_PAUSED:
					is, pid = state.StatePaused, p.Pid
				case task.Status_STOPPED:
					is, code, at = state.StateExited, p.ExitStatus, p.ExitedAt.AsTime()
				}
			}
			var spec struct{ Process struct{ Args []string } }
			if err := json.Unmarshal(c.Spec.Value, &spec); err != nil {
				return nil, err
			}
			facts = append(facts, fmt.Sprintf("container %s/%s of %s (%s) %v created %s %s %d %d %s %q", ns.Name, c.ID, c.Image, digests[c.Image],
				c.Labels, c.CreatedAt.AsTime().UTC(), is, pid, code, at.UTC(), spec.Process.Args))
		}
	}
	slices.Sort(facts)
	return facts, nil
}

// has says the same of a state.
func has(s *state.State) (facts []string) {
	for name := range s.Namespaces {
		facts = append(facts, "namespace "+name)
	}
	for id, i := range s.Images {
		for _, name := range slices.Concat(i.RepoTags, i.RepoDigests) {
			facts = append(facts, fmt.Sprintf("image %s is %s", name, id))
		}
	}
	for id, c := range s.Containers {
		labels := c.Labels
		if len(labels) == 0 {
			labels = nil
		}
		facts = append(facts, fmt.Sprintf("container %s of %s (%s) %v created %s %s %d %d %s %q", id, c.ImageRef, c.Image,
			labels, c.CreatedAt.UTC(), c.State, c.PID, c.ExitCode, c.FinishedAt.UTC(), append([]string{c.Path}, c.Args...)))
	}
	slices.Sort(facts)
	return facts
}

// The mirror of a containerd equals what its own packages say, after whatever ctr has done.
func TestContainerdOracle(t *testing.T) {
	h := startContainerd(t)
	rootFS, err := realengine.RootFS(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := realengine.ImageArchive(rootFS, "docker.io/library/prog:1")
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, "image.tar"), archive, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	connect := mirror.ConnectContainerd(mirror.ContainerdOptions{Socket: h.socket, Data: filepath.Join(h.dir, "data"), State: filepath.Join(h.dir, "exec", "containerd")})
	r := mirrortest.NewOf(t, h.dir, h.socket, mirror.SourceOptions{Connect: connect, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	r.Start()
	conn, err := grpc.NewClient("unix://"+h.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	image := "docker.io/library/prog:1"
	for _, ns := range []string{"one", "two"} {
		if err := h.ctr("--namespace", ns, "images", "import", filepath.Join(h.dir, "image.tar")); err != nil {
			t.Fatal(err)
		}
	}
	var journal []string
	const operations, batch = 60, 6
	for done := 0; done < operations; done++ {
		ns, id := []string{"one", "two"}[random.IntN(2)], fmt.Sprintf("c%d", random.IntN(3))
		args := [][]string{
			{"run", "--detach", image, id, "/prog", "sleep"},
			{"run", "--detach", "--label", "x=y", image, id, "/prog", "sleep", "50", "3"},
			{"run", "--rm", image, id, "/prog", "exit", "0"},
			{"containers", "create", image, id, "/prog", "sleep"},
			{"containers", "label", id, fmt.Sprintf("n=%d", done)},
			{"containers", "rm", id},
			{"tasks", "kill", "--signal", "SIGKILL", id},
			{"tasks", "rm", "--force", id},
			{"tasks", "pause", id},
			{"tasks", "resume", id},
			{"tasks", "exec", "--exec-id", fmt.Sprintf("e%d", done), id, "/prog", "exit", "1"},
			{"images", "tag", "--force", image, "example.org/again:" + fmt.Sprint(random.IntN(2))},
			{"images", "rm", "example.org/again:" + fmt.Sprint(random.IntN(2))},
			{"namespaces", "create", "three"},
			{"namespaces", "rm", "three"},
		}[random.IntN(15)]
		_ = h.ctr(append([]string{"--namespace", ns}, args...)...) // many can't be
		journal = append(journal, ns+" "+strings.Join(args, " "))
		if done%batch != batch-1 {
			continue
		}
		var want, got []string
		for end := time.Now().Add(mirrortest.Patience); ; {
			// What ends by itself may do so between the two looks.
			if err := r.Source.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			got = has(onLoop(r))
			if want, err = h.want(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(got, want) || time.Now().After(end) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("the mirror has\n%s\nand containerd\n%s\nafter\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), strings.Join(journal, "\n"))
		}
	}
}

// onLoop returns the state as it is in the loop.
func onLoop(r *mirrortest.Rig) (s *state.State) {
	done := make(chan struct{})
	r.Do <- func() {
		s = r.Store.Snapshot()
		close(done)
	}
	<-done
	return s
}
