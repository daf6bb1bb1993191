package plugin

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Where the pages of the commands are, for readers and for man.
const (
	commandPages = "../docs/commands"
	manPages     = "../docs/man"
)

// Each command has a page and a man page, which are made of its help: `make golden` makes them.
func TestPages(t *testing.T) {
	cli, err := command.NewDockerCli()
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(cli)
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "docker rd"}
	root.DisableAutoGenTag = true
	forPages(root)
	made := t.TempDir()
	pages, man := filepath.Join(made, "commands"), filepath.Join(made, "man")
	for _, dir := range []string{pages, man} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := doc.GenMarkdownTree(root, pages); err != nil {
		t.Fatal(err)
	}
	err = doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{
		Path: man, CommandSeparator: "-",
		Header: &doc.GenManHeader{Section: "1", Source: "docker rd", Manual: "docker rd"},
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, pages, commandPages)
	same(t, man, manPages)
}

// mentioned is a command of docker rd in the text of a page.
var mentioned = regexp.MustCompile("`docker[ -]rd ([^`]+)`")

// The commands that pages mention in their text exist, with their options.
func TestMentioned(t *testing.T) {
	cli, err := command.NewDockerCli()
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(cli)
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "../README.md", "../CONTRIBUTING.md") {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mentioned.FindAllStringSubmatch(string(page), -1) {
			words := strings.Fields(m[1])
			sub, rest, err := root.Find(words)
			if (err != nil || sub == root) && words[0] != "…" && words[0] != "--help" {
				t.Errorf("%s: %s: there is no such command", path, m[0])
				continue
			}
			for _, word := range rest {
				flag, _, _ := strings.Cut(word, "=")
				if flag == "--" {
					break
				}
				name, long := strings.CutPrefix(flag, "--")
				if long && name != "help" && sub.Flag(name) == nil && sub.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: %s: there is no option %s", path, m[0], flag)
				}
			}
		}
	}
}

// table is a line of a table in a help text, which is indented less than Markdown wants.
var table = regexp.MustCompile(`(?m)^  ([^ -])`)

// forPages makes the texts of a command, and those below it, fit for Markdown.
func forPages(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true // they are called OPTIONS there
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Hidden = true // as docker does; its shorthand is deprecated
	cmd.Long = table.ReplaceAllString(cmd.Long, "    $1")
	for _, sub := range cmd.Commands() {
		forPages(sub)
	}
}

// same compares the pages that were made with those that are there, or replaces these.
func same(t *testing.T, made, there string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.RemoveAll(there); err != nil {
			t.Fatal(err)
		}
	}
	have, want := pagesIn(t, there), pagesIn(t, made)
	for name := range have {
		if want[name] == nil {
			t.Errorf("%s: there is no such command", filepath.Join(there, name))
		}
	}
	for name, page := range want {
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.MkdirAll(there, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(there, name), page, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if !bytes.Equal(have[name], page) {
			t.Errorf("%s is out of date: `make golden` makes it anew", filepath.Join(there, name))
		}
	}
}

// pagesIn returns the pages of a directory, without what differs from day to day.
func pagesIn(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	pages := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(page), "\n")
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, ".TH ") }); i >= 0 {
			fields := strings.Split(lines[i], `" "`)
			fields[2] = ""
			lines[i] = strings.Join(fields, `" "`)
		}
		pages[filepath.Base(path)] = []byte(strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n")
	}
	return pages
}
