package engine

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/docker-rd/docker-rd/instance"
)

// The programs are known by what they call their contexts, sockets and pipes.
func TestProgramOf(t *testing.T) {
	link := "/Users/ann/.colima/work/docker.sock"
	if runtime.GOOS != "windows" { // where such sockets are not, and not everybody may make a link
		link = filepath.Join(t.TempDir(), "docker.sock")
		if err := os.Symlink("/Users/ann/.colima/work/docker.sock", link); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ context, host, want string }{
		{host: "unix:///Users/ann/.docker/run/docker.sock", want: "docker desktop start"},
		{host: "unix:///home/ann/.docker/desktop/docker.sock", want: "docker desktop start"},
		{context: "desktop-linux", want: "docker desktop start"},
		{host: "unix:///Users/ann/.orbstack/run/docker.sock", want: "orb start"},
		{context: "orbstack", want: "orb start"},
		{host: "unix:///Users/ann/.colima/default/docker.sock", want: "colima start default"},
		{host: "unix:///home/ann/.config/colima/work/docker.sock", want: "colima start work"},
		{context: "colima", want: "colima start default"},
		{context: "colima-work", want: "colima start work"},
		{host: "unix://" + link, want: "colima start work"},
		{host: "unix:///home/ann/.local/share/containers/podman/machine/qemu/podman.sock", want: "podman machine start podman-machine-default"},
		{host: "unix:///home/ann/.local/share/containers/podman/machine/work/podman.sock", want: "podman machine start work"},
		{host: "unix:///var/folders/x/T/podman/work-api.sock", want: "podman machine start work"},
		{context: "podman-machine-default", want: "podman machine start podman-machine-default"},
		{host: "unix:///Users/ann/.rd/docker.sock", want: "rdctl start"},
		// Engines of the system, and those that are elsewhere.
		{host: "unix:///var/run/docker.sock"},
		{host: "unix:///run/user/1000/podman/podman.sock"},
		{host: "tcp://192.0.2.1:2375"},
		{host: "ssh://ann@mac/Users/ann/.orbstack/run/docker.sock"},
		{context: "production"},
		{context: "my-colima"},
	} {
		i := &instance.Instance{DockerConfig: t.TempDir(), Settings: instance.Settings{
			Driver: instance.DriverExisting, Host: test.host, FromContext: test.context,
		}}
		p, ok := ProgramOf(i)
		if p.Command() != test.want || ok != (test.want != "") {
			t.Errorf("ProgramOf(context %q, host %q) = %+v, %t, want %q", test.context, test.host, p, ok, test.want)
		}
	}
}
