# docker rd: `make help` lists the targets.

SHELL       := /bin/sh
GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
COMMIT      ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE        ?= $(shell TZ=UTC git show -s --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
VERSION_PKG := github.com/docker-rd/docker-rd/internal/version/release
# Without gRPC's tracing pages, a dependency of docker's CLI package: they slow the start of every
# process by a millisecond.
TAGS        := grpcnotrace
GO_BUILD    := CGO_ENABLED=0 $(GO) build -tags $(TAGS) -trimpath -buildvcs=false -ldflags '-s -w -X $(VERSION_PKG).Version=$(VERSION) -X $(VERSION_PKG).Commit=$(COMMIT) -X $(VERSION_PKG).Date=$(DATE)'
EXE         := $(shell $(GO) env GOEXE 2>/dev/null)

# Root, or a packager with DESTDIR, installs for all users; an ordinary user, for that user. docker
# looks for plugins of all users only below /usr/local and /usr.
EVERYBODY   := $(or $(DESTDIR),$(filter 0,$(shell id -u)))
PREFIX      ?= $(if $(EVERYBODY),/usr/local,$(HOME)/.local)
LIBDIR      ?= $(PREFIX)/lib/docker-rd
OWN_PLUGINS := $(or $(DOCKER_CONFIG),$(HOME)/.docker)/cli-plugins
PLUGINS     ?= $(if $(EVERYBODY),$(if $(filter /usr,$(PREFIX)),/usr/lib,/usr/local/lib)/docker/cli-plugins,$(OWN_PLUGINS))

COMPLETIONS := bash-completion/completions/docker-rd zsh/site-functions/_docker-rd fish/vendor_completions.d/docker-rd.fish

PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: start
start: go deps install ## Install docker rd and missing programs, and start an engine
	"$(PREFIX)/bin/docker-rd$(EXE)" start

.PHONY: go
go:
	@scripts/check-go $(GO)

.PHONY: deps
deps: ## Install missing programs that docker rd runs
	@scripts/install-deps

.PHONY: build
build: go ## Build into bin/
	$(GO_BUILD) -o bin/ ./cmd/...

RELEASE_OUT ?= dist
.PHONY: release
release: go ## Make archives, packages, checksums and SBOMs for all platforms in dist/
	$(GO) run ./internal/packaging -go $(GO) -tags $(TAGS) -version "$(VERSION)" -commit "$(COMMIT)" -date "$(DATE)" -targets "$(PLATFORMS)" -out "$(RELEASE_OUT)"

# uninstall removes the directories that install has made; a packager's are his own.
MADE_DIRS   := $(LIBDIR)/made-directories
MAKE_DIRS   := $(if $(DESTDIR),mkdir -p,scripts/make-dirs "$(MADE_DIRS)")
# Hardened systems give root a umask of 077: all users may read what is for all.
UMASK       := $(if $(EVERYBODY),umask 022 &&)

# The programs are not in the plugin directory: docker would take the proxy for a broken plugin.
.PHONY: install
install: build ## Install the plugin and the program: as root for all users; DESTDIR, PREFIX, PLUGINS
	$(UMASK) $(MAKE_DIRS) "$(DESTDIR)$(LIBDIR)" "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PLUGINS)" \
		$(foreach file,$(COMPLETIONS),"$(DESTDIR)$(PREFIX)/share/$(dir $(file))") "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -m 0755 bin/docker-rd$(EXE) bin/docker-rd-proxy$(EXE) "$(DESTDIR)$(LIBDIR)/"
	ln -sf "$(LIBDIR)/docker-rd$(EXE)" "$(DESTDIR)$(PREFIX)/bin/docker-rd$(EXE)"
	ln -sf "$(LIBDIR)/docker-rd$(EXE)" "$(DESTDIR)$(PLUGINS)/docker-rd$(EXE)"
	$(UMASK) bin/docker-rd$(EXE) completion bash >"$(DESTDIR)$(PREFIX)/share/$(word 1,$(COMPLETIONS))"
	$(UMASK) bin/docker-rd$(EXE) completion zsh >"$(DESTDIR)$(PREFIX)/share/$(word 2,$(COMPLETIONS))"
	$(UMASK) bin/docker-rd$(EXE) completion fish >"$(DESTDIR)$(PREFIX)/share/$(word 3,$(COMPLETIONS))"
	install -m 0644 docs/man/*.1 "$(DESTDIR)$(PREFIX)/share/man/man1/"
ifeq ($(DESTDIR),)
	@scripts/check-install "$(PREFIX)/bin" "$(PLUGINS)/docker-rd$(EXE)" "$(OWN_PLUGINS)/docker-rd$(EXE)"
endif

.PHONY: uninstall
uninstall: ## Remove what install has made; instances stay
	rm -f "$(DESTDIR)$(PREFIX)/bin/docker-rd$(EXE)" "$(DESTDIR)$(PLUGINS)/docker-rd$(EXE)"
	rm -f $(foreach file,$(COMPLETIONS),"$(DESTDIR)$(PREFIX)/share/$(file)")
	rm -f "$(DESTDIR)$(PREFIX)/share/man/man1/docker-rd.1" "$(DESTDIR)$(PREFIX)/share/man/man1/"docker-rd-*.1
	made=$$(sort -ru "$(MADE_DIRS)" 2>/dev/null) || made=; rm -rf "$(DESTDIR)$(LIBDIR)"; \
	printf '%s\n' "$$made" | while IFS= read -r dir; do [ -z "$$dir" ] || rmdir "$$dir" 2>/dev/null || :; done

.PHONY: check
check: ## Run all checks and tests, including real engines
	@scripts/check-go $(GO)
	@begin=$$(date +%s); \
	[ "$$(id -u)" -eq 0 ] || echo "not root: tests of root's engines are left out"; \
	scripts/install-deps test && $(MAKE) --no-print-directory fmt lint cross test && \
	echo "make check: passed in $$(( $$(date +%s) - begin )) s"

.PHONY: fmt
fmt: ## Fail if gofmt would change something
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "gofmt would change: $$files" >&2; exit 1; }

.PHONY: lint
lint: ## Run go vet, for Windows too, and staticcheck
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: cross
cross: ## Build for every platform
	@for p in $(PLATFORMS); do \
		echo "build $$p"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./... || exit 1; \
	done

# What the shell says about engines, proxies and modes of files is not for the tests.
clean_env := env $(addprefix -u ,DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH \
	DOCKER_API_VERSION DOCKER_CUSTOM_HEADERS DOCKER_RD_HOME DOCKER_RD_INSTANCE DOCKER_RD_DEFAULT_SOCKETS \
	HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy)
.PHONY: test
test: ## Run all tests with the race detector
	umask 022; $(GO) test -exec '$(clean_env)' -race -p 3 -parallel 4 -timeout 28m ./...

.PHONY: test-short
test-short: ## Run the tests that need no real engine
	$(GO) test -short ./...

.PHONY: wine
wine: ## Run the tests of the Windows build under wine (as root; makes a Debian root with mmdebstrap)
	@scripts/wine $(WINE_PACKAGES)

.PHONY: lima
lima: build ## Run an engine in a real virtual machine, emulated, by limactl (as root, Debian, amd64; takes long)
	@scripts/lima

.PHONY: vm
vm: ## Run the tests that need a whole system with systemd, in a User-mode Linux (as root, amd64; builds it)
	@scripts/vm $(VM_TESTS)

.PHONY: golden
golden: ## Rewrite the golden output of the script tests, and the pages of the commands
	UPDATE_GOLDEN=1 $(GO) test ./cmd/docker-rd ./commands/... ./plugin

.PHONY: stress-config
stress-config: ## Count writes of other programs to config.json that are lost beside ours
	$(GO) test ./dockercontext/configfile -v -count=1 -timeout 2h -run '^TestStress$$' -args -stress.writers=4 -stress.saves=500 $(STRESS_FLAGS)

.PHONY: oracle
oracle: ## Compare the mirror with a real engine during many random operations
	$(GO) test ./mirror -v -count=1 -timeout 2h -run '^TestOracle' -args -oracle.ops=5000 $(ORACLE_FLAGS)

# The distribution's is older. The PATH decides, also for the ordinary user that the tests make.
CONTAINERD2  ?= v2.4.2
containerd2  := bin/containerd-$(CONTAINERD2)
$(containerd2)/built:
	CGO_ENABLED=0 GOBIN="$(CURDIR)/$(containerd2)" $(GO) install $(foreach name,containerd ctr containerd-shim-runc-v2,github.com/containerd/containerd/v2/cmd/$(name)@$(CONTAINERD2))
	touch $@

.PHONY: containerd2
containerd2: $(containerd2)/built ## Build containerd 2, and run the tests of containerds with it
	PATH="$(CURDIR)/$(containerd2):$$PATH" $(GO) test -count=1 -run 'Containerd|EachKind' ./engine/isolated ./mirror ./cmd/docker-rd

NERDCTL ?= v2.3.5
nerdctl := bin/nerdctl-$(NERDCTL)
.PHONY: nerdctl
nerdctl: $(containerd2)/built ## Build nerdctl, and try it with containerd 2, as root and as an ordinary user
	scripts/install-nerdctl $(nerdctl) $(NERDCTL)
	NERDCTL=$(NERDCTL) PATH="$(CURDIR)/$(nerdctl):$(CURDIR)/$(containerd2):$$PATH" $(GO) test -count=1 -v -run Nerdctl ./cmd/docker-rd

.PHONY: clients
clients: build ## Install real Docker clients into bin/clients, and try them
	scripts/install-clients bin/clients
	CLIENTS_DIR=$(CURDIR)/bin/clients CLIENTS_BIN=$(CURDIR)/bin $(GO) test -count=1 -v ./internal/test/clients

.PHONY: bench
bench: build ## Measure everything that has a target, as ratios
	$(GO) run ./internal/test/bench $(BENCH_FLAGS)

.PHONY: fresh-root
fresh-root: go ## Follow README in a clean Debian root, as root and as an ordinary user (as root)
	@GO="$(GO)" scripts/fresh-root

.PHONY: release-check
release-check: release ## Make the release again in another directory, compare the bytes, and use the packages (as root)
	scripts/check-release "$(RELEASE_OUT)"
	scripts/test-package "$$(ls "$(RELEASE_OUT)"/docker-rd_*_linux_$$($(GO) env GOARCH).deb)"
	scripts/test-rpm "$$(ls "$(RELEASE_OUT)"/docker-rd_*_linux_$$($(GO) env GOARCH).rpm)"

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
