package commands

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// engineVariables are all environment variables by which programs choose an engine, in the
// order in which `env` prints them.
var engineVariables = append(slices.Clone(endpoint.Variables), instanceEnv)

// containerdVariables are those by which programs choose a containerd. Its namespace is left to
// the user.
var containerdVariables = []string{"CONTAINERD_ADDRESS", "NERDCTL_TOML"}

// variablesFor returns the variables that count for an instance; nil stands for all of them.
func variablesFor(i *instance.Instance) []string {
	if i == nil || i.Settings.Engine == instance.KindContainerd {
		return slices.Concat(engineVariables, containerdVariables)
	}
	return engineVariables
}

// environmentOf returns the variablesFor for a program that is to see only the instance's
// engine. Those that are missing must be unset.
//
// DOCKER_HOST is for the many programs that ignore contexts; docker prefers it too.
// DOCKER_CONTEXT is for programs that pass on nothing else.
func environmentOf(i *instance.Instance) (map[string]string, error) {
	set := map[string]string{instanceEnv: i.Name}
	if i.Settings.Engine == instance.KindContainerd {
		set["CONTAINERD_ADDRESS"], set["NERDCTL_TOML"] = i.Socket(), i.Paths.NerdctlConfig()
		return set, nil
	}
	hasContext := instance.Observe(i).Condition(state.ContextReady).Status == state.True
	if hasContext {
		set["DOCKER_CONTEXT"] = i.Context()
	}
	host, err := hostVariables(i)
	if err != nil && !hasContext {
		return nil, err
	}
	for name, value := range host {
		set[name] = value
	}
	return set, nil
}

// hostVariables returns the variables that lead to the instance's engine without its
// context, by the local socket if there is one.
func hostVariables(i *instance.Instance) (map[string]string, error) {
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		return nil, err
	}
	local, err := driver.LocalHost()
	if err != nil {
		return nil, err
	}
	if local != "" {
		return map[string]string{"DOCKER_HOST": local}, nil
	}
	ep, err := driver.Endpoint()
	if err != nil {
		return nil, err
	}
	set := map[string]string{"DOCKER_HOST": ep.Host}
	if ep.TLS == nil && !ep.SkipTLSVerify {
		return set, nil
	}
	dir, err := certPath(i)
	if err != nil {
		return nil, err
	}
	set["DOCKER_CERT_PATH"] = dir
	if ep.SkipTLSVerify {
		set["DOCKER_TLS"] = "1"
	} else {
		set["DOCKER_TLS_VERIFY"] = "1"
	}
	return set, nil
}

// certPath returns the directory in which docker finds the TLS material of the instance's
// engine. Docker wants certain file names there, which its context store uses too.
func certPath(i *instance.Instance) (string, error) {
	s := i.Settings
	if s.FromContext != "" {
		return filepath.Join(endpoint.OpenStore(i.DockerConfig).GetStorageInfo(s.FromContext).TLSPath, "docker"), nil
	}
	dir := ""
	for name, path := range map[string]string{"ca.pem": s.TLSCACert, "cert.pem": s.TLSCert, "key.pem": s.TLSKey} {
		if path == "" {
			continue
		}
		if filepath.Base(path) != name || (dir != "" && filepath.Dir(path) != dir) {
			return "", failure.WithHint(
				failure.Refuse("DOCKER_CERT_PATH can't say %q: docker looks for ca.pem, cert.pem and key.pem in one directory", path),
				"use the context: `docker%s --context %s ps`", configFlag(i.DockerConfig), i.Context())
		}
		dir = filepath.Dir(path)
	}
	return dir, nil
}

// commandEnv returns env for a command that is to see only the instance's engine.
func commandEnv(i *instance.Instance, env []string) ([]string, error) {
	set, err := environmentOf(i)
	if err != nil {
		return nil, err
	}
	set["DOCKER_CONFIG"] = i.DockerConfig // where its context is
	if i.Settings.Engine == instance.KindContainerd {
		set["DOCKER_HOST"] = "unix://" + i.Paths.Socket() // where nobody listens: docker would use another engine
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "DOCKER_CONFIG" || slices.Contains(variablesFor(i), name)
	})
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	return env, nil
}
