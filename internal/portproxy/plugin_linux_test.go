package portproxy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Which listeners a network's configuration asks for.
func TestPluginPorts(t *testing.T) {
	const both = `[{"address":"10.4.0.2/24"},{"address":"fd00::2/64"}]`
	for _, test := range []struct{ ips, mappings, want string }{
		{`[{"address":"10.4.0.2/24"}]`, `[{"HostPort":80,"ContainerPort":8,"Protocol":"TCP","HostIP":"0.0.0.0"}]`, "tcp 0.0.0.0:80 10.4.0.2:8"},
		{both, `[{"hostPort":80,"containerPort":8,"protocol":"udp"}]`, "udp 0.0.0.0:80 10.4.0.2:8, udp [::]:80 [fd00::2]:8"},
		{both, `[{"hostPort":80,"containerPort":8,"protocol":"tcp","hostIP":"::1"}]`, "tcp [::1]:80 [fd00::2]:8"},
		{`[{"address":"10.4.0.2/24"}]`, `[{"hostPort":80,"containerPort":8,"protocol":"tcp","hostIP":"::"}]`, "tcp [::]:80 10.4.0.2:8"},
		{both, `[{"containerPort":8}]`, ""},
		{both, `null`, ""},
		{`[]`, `null`, ""},
		{`[]`, `[{"hostPort":80,"containerPort":8}]`, "error: the container has no address"},
		{both, `[{"hostPort":80,"hostIP":"x"}]`, `error: ParseAddr("x"): unable to parse IP`},
	} {
		var conf network
		text := `{"runtimeConfig":{"portMappings":` + test.mappings + `},"prevResult":{"ips":` + test.ips + `}}`
		if err := json.Unmarshal([]byte(text), &conf); err != nil {
			t.Fatal(err)
		}
		ports, err := conf.ports()
		var got []string
		if err != nil {
			got = []string{"error: " + err.Error()}
		}
		for _, p := range ports {
			got = append(got, p.Proto+" "+p.Host.String()+" "+p.Container.String())
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%s for %s: %s, want %s", test.mappings, test.ips, text, test.want)
		}
	}
}

func TestAnnouncement(t *testing.T) {
	dir := t.TempDir()
	c := config{Proto: "tcp", Owner: "default-1/eth0"}
	if _, err := c.announce(dir + "/none"); err == nil {
		t.Error("an owner's proxy that can't be found is no error")
	}
	c.Owner = ""
	if _, err := c.announce(dir + "/none"); err != nil {
		t.Errorf("dockerd's proxy: %v", err)
	}
	port, owner := ReadAnnouncement([]byte("127.0.0.1:1/tcp\ndefault-1/eth0"))
	if got := []string{port, owner}; !reflect.DeepEqual(got, []string{"127.0.0.1:1/tcp", "default-1/eth0"}) {
		t.Errorf("read %q", got)
	}
}
