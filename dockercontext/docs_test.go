package dockercontext

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Every reason of a probe and every code of the doctor's is explained to users.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/contexts.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, prefix := range map[string]string{"probe.go": "probe", "doctor.go": "finding"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			word, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if !strings.Contains(string(page), "`"+word+"`") {
				t.Errorf("docs/contexts.md does not explain %s", word)
			}
			return true
		})
		if found < 10 {
			t.Errorf("only %d constants %s… were found in %s", found, prefix, file)
		}
	}
}
