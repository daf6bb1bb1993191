package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A command of docker-rd, as a message would name it.
var ownCommand = regexp.MustCompile(`\bdocker[- ]rd (start|stop|restart|rm|ls|status|set|logs|wait|run|env|paths|diagnose|context|get|watch|sync|action|delete|shell|cp-image|top|dashboard)\b`)

// namesCommands are the rooms whose messages may name commands of docker-rd. The others
// return errors, for which commands/hints.go finds the remedy.
var namesCommands = []string{"plugin", "commands", "top", "dashboard", "cmd", testTools}

func TestLowerRoomsNameNoCommands(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			if slices.Contains(namesCommands, name) || strings.HasPrefix(entry.Name(), ".") && name != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && ownCommand.MatchString(lit.Value) {
				t.Errorf("%s: %s names a command of docker-rd", name, lit.Value)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
