# Tulle's one entry point. `make help` lists the targets; each installs what it lacks and says so.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# need COMMAND,PACKAGE... installs Debian packages when a command is missing, or says what to install.
define need
	@command -v $(1) >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing $(2), which this target needs"; apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq $(2) >/dev/null; \
	  else echo "$(1) is missing: install $(2) (needs root), then run this target again" >&2; exit 1; fi; }
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort -t: -k1,1 | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

# --- tests ---

.PHONY: test
test: promtool clients unit lint generated keyboard e2e ## every test but attack and conformance; what continuous integration runs

.PHONY: promtool
promtool: # the tests of dashboards and alerts skip what needs Prometheus
	$(call need,promtool,prometheus)

.PHONY: clients
clients: # the tests of the install script skip what needs a client that is missing
	$(call need,curl,curl)
	$(call need,wget,wget)

.PHONY: unit
unit: ## format, vet and unit tests, with the race detector but for allocation counts; needs no root, but skips what does
	$(call need,gcc,gcc libc6-dev)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "run gofmt -w on: $$unformatted" >&2; exit 1; }
	go vet ./...
	go test -race ./...
	go test -run Allocate $$(git grep -l 'tulle/internal/alloctest"' -- '*_test.go' | sed 's|^|./|; s|/[^/]*$$||' | sort -u)
	cd test && go vet ./... && go test $$(go list ./... | grep -v -e /attack -e /e2e -e /demo -e /conformance/strict)
	cd tools && go vet ./... && go test $$(go list ./... | grep -v /release)
	cd tools && go test -count=1 ./release # it reads install.sh, which is outside of its module: Go would not see a change

.PHONY: lint
lint: ## the linter with the rules of staticcheck.conf, shellcheck, and the check of texts and names in tools/texts
	$(call need,shellcheck,shellcheck)
	shellcheck $$(git ls-files '*.sh')
	go run -C tools ./texts ..
	go tool -modfile=tools/go.mod staticcheck ./...
	cd test && go tool -modfile=../tools/go.mod staticcheck ./...
	cd tools && go tool staticcheck ./...

# Go minimizes each input that reaches new code, for a minute unless told otherwise: then little time is left to try new ones.
FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@git grep -o '^func Fuzz[A-Za-z0-9]*' -- '*_test.go' | sed 's|/[^/]*:func | |' | while read -r pkg target; do \
	  echo "./$$pkg $$target"; \
	  go test "./$$pkg" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x || exit 1; \
	done

.PHONY: generate
generate: ## write the generated code again
	$(call need,protoc,protobuf-compiler)
	go generate ./...

.PHONY: generated
generated: generate web ## check that the generated code and the dashboard's app are what their sources say
	@git diff --exit-code -- '*.pb.go' crds install/chart || { echo "run make generate and commit the result" >&2; exit 1; }
	@[ -z "$$(git status --porcelain viz/web/dist)" ] || { git status --short viz/web/dist >&2; \
	  echo "viz/web/dist is not what viz/web/app builds: run make web and commit the result" >&2; exit 1; }

.PHONY: attack
attack: ## what attacks on the proxy cost honest traffic, and the bounds of it; needs root, for a network namespace
	$(call need,ip,iproute2)
	cd test && go test -count=1 -timeout 15m ./attack $(ATTACK_FLAGS)

OWN_CLUSTER := $(filter command\ line,$(origin KUBECONFIG))

# --- the dashboard's app ---

APP := viz/web/app
BROWSER_TESTS := test/dashboard
BROWSER := browser $(BROWSER_TESTS)/node_modules/.package-lock.json

.PHONY: web
web: $(APP)/node_modules/.package-lock.json ## the dashboard's app: checks viz/web/app, tests it and builds viz/web/dist
	cd $(APP) && npm run --silent check && npm test --silent && npm run --silent build

%/node_modules/.package-lock.json: %/package-lock.json %/package.json
	$(call need,npm,nodejs npm)
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a == 20 && b >= 19 ? 0 : 1)' || \
	  { echo "node $$(node --version) is too old: the app's tools need 20.19 or newer, such as that of Debian 13" >&2; exit 1; }
	cd $* && npm ci --silent

.PHONY: browser
browser: # the tests of the dashboard, and its pictures (CHROMIUM=… for another browser than Debian's)
	$(if $(CHROMIUM),,$(call need,chromium,chromium))

.PHONY: frames
frames: $(APP)/node_modules/.package-lock.json browser ## how fast the dashboard paints, and draws 100 workloads and 400 edges again
	cd $(APP) && npm run --silent frames

.PHONY: keyboard
keyboard: $(APP)/node_modules/.package-lock.json browser ## focus, links and orders of the dashboard, in a browser with made-up data
	cd $(APP) && npm run --silent keyboard

.PHONY: screenshots
screenshots: demo $(BROWSER) ## docs/dashboard: each page, on the demo's cluster (ONLY=topology for some; KUBECONFIG=…)
	cd $(BROWSER_TESTS) && KUBECONFIG=$(if $(OWN_CLUSTER),$(abspath $(KUBECONFIG)),$(CURDIR)/.cluster/kubeconfig) \
	  PATH=$(CURDIR)/bin:$(CURDIR)/.cluster/bin:$$PATH ONLY=$(ONLY) npm run --silent screenshots

# --- programs and images ---

# The commit, and for a changed checkout a digest of the changes: a new program is a new version, which a cluster rolls out.
VERSION ?= $(shell git describe --tags --always 2>/dev/null || echo dev)$(shell git diff --quiet HEAD 2>/dev/null || \
  { echo -n -; git diff HEAD | sha1sum | cut -c1-7; })
REGISTRY ?= ghcr.io/tulle-mesh
GOARCH ?= $(shell go env GOARCH)
PROGRAMS := tulle tulle-controller tulle-proxy
GO_STATIC := CGO_ENABLED=0 GOARCH=$(GOARCH) go build -trimpath -tags grpcnotrace -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build
build: ## the CLI, the controller and the proxy, static, into bin/
	@mkdir -p bin
	@echo "building $(PROGRAMS); the first time takes minutes"
	@for p in $(PROGRAMS); do $(GO_STATIC) -o bin/$$p ./cmd/$$p; done

.PHONY: images
images: ## dist/proxy.tar and dist/controller.tar for docker load, kind load image-archive and ctr import
	@mkdir -p dist bin
	for p in controller proxy; do \
	  $(GO_STATIC) -o bin/tulle-$$p ./cmd/tulle-$$p; \
	  go run -C tools ./image --name $(REGISTRY)/$$p:$(VERSION) --arch $(GOARCH) --output $(CURDIR)/dist/$$p.tar \
	    --file /tulle-$$p=$(CURDIR)/bin/tulle-$$p --entrypoint /tulle-$$p \
	    --label org.opencontainers.image.title=tulle-$$p --label org.opencontainers.image.version=$(VERSION) \
	    --label org.opencontainers.image.source=https://github.com/tulle-mesh/tulle --label org.opencontainers.image.licenses=Apache-2.0; \
	done

# --- releases ---

OWN_VERSION := $(if $(filter command\ line environment,$(origin VERSION)),$(VERSION))

.PHONY: release
release: ## dist/release/VERSION: the files of a release, of the checkout of its tag (VERSION=v0.1.0; TRIAL=1, PLATFORMS=linux/amd64 to try)
	@[ -n "$(OWN_VERSION)" ] || { echo "name the version: make release VERSION=v0.1.0" >&2; exit 1; }
	@echo "building for every platform; the first time takes half an hour on two cores"
	go run -C tools ./release --version $(OWN_VERSION) --registry $(REGISTRY) $(if $(TRIAL),--trial) $(if $(PLATFORMS),--platform $(PLATFORMS))

.PHONY: reproduce
reproduce: ## make that release again, elsewhere and with an empty build cache, and compare it with dist/release/VERSION
	@[ -n "$(OWN_VERSION)" ] || { echo "name the version: make reproduce VERSION=v0.1.0" >&2; exit 1; }
	@[ -e dist/release/$(OWN_VERSION)/SHA256SUMS ] || { echo "dist/release/$(OWN_VERSION) is missing: run make release first" >&2; exit 1; }
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	git clone -q --no-local . "$$dir/another-path"; \
	GOCACHE="$$dir/cache" $(MAKE) --no-print-directory -C "$$dir/another-path" release VERSION=$(OWN_VERSION) REGISTRY=$(REGISTRY) \
	  TRIAL=$(TRIAL) PLATFORMS=$(PLATFORMS); \
	diff dist/release/$(OWN_VERSION)/SHA256SUMS "$$dir/another-path/dist/release/$(OWN_VERSION)/SHA256SUMS"; \
	echo "every file of $(OWN_VERSION) is the same"

# --- a real Kubernetes on this machine ---

.PHONY: cluster
cluster: ## start Kubernetes in namespaces of this machine, without uplink (NODES=3 for three zones); needs root
	cd test && go run ./cluster up $(if $(NODES),--nodes $(NODES))

.PHONY: cluster-down
cluster-down: ## end that cluster and remove everything of it
	cd test && go run ./cluster down

.PHONY: cluster-load
cluster-load: images ## build the images and import them into that cluster
	cd test && go run ./cluster load $(CURDIR)/dist/controller.tar $(CURDIR)/dist/proxy.tar

# --- end to end ---

.PHONY: e2e
e2e: build images $(if $(RUN),$(if $(findstring Dashboard,$(RUN)),$(BROWSER)),$(BROWSER)) ## the mesh on a real cluster under test (RUN=TestGRPC for a part; KEEP=1 leaves the cluster up; KUBECONFIG=…)
	for p in app collector; do \
	  CGO_ENABLED=0 go build -C test -trimpath -buildvcs=false -ldflags '-s -w' -o ../bin/e2e-$$p ./e2e/$$p; \
	done
	go build -C test -o ../bin/helm helm.sh/helm/v4/cmd/helm
	image() { \
	  local name=docker.io/tulle-mesh/e2e-$$1:$$(sha256sum bin/e2e-$$1 | cut -c1-12); echo $$name; \
	  go run -C tools ./image --name $$name --arch $(GOARCH) --output $(CURDIR)/dist/e2e-$$1.tar \
	    --file /$$1=$(CURDIR)/bin/e2e-$$1 --entrypoint /$$1 >&2; \
	}; \
	app=$$(image app); collector=$$(image collector); \
	clients=$$(cd test && go run ./e2e/images $(CURDIR)/dist); \
	$(if $(OWN_CLUSTER),export KUBECONFIG=$(abspath $(KUBECONFIG));, \
	  export KUBECONFIG=; \
	  $(if $(KEEP),,[ -e .cluster ] || trap '$(MAKE) --no-print-directory -C $(CURDIR) cluster-down' EXIT;) \
	  $(MAKE) --no-print-directory cluster; \
	  (cd test && go run ./cluster load $(CURDIR)/dist/controller.tar $(CURDIR)/dist/proxy.tar $(CURDIR)/dist/e2e-*.tar);) \
	cd test && E2E_APP_IMAGE=$$app E2E_COLLECTOR_IMAGE=$$collector E2E_CLIENT_IMAGES="$$clients" go test -count=1 -timeout 60m -v $(if $(RUN),-run '$(RUN)') ./e2e

# --- conformance ---

.PHONY: conformance
conformance: build images ## Gateway API's mesh conformance suite, both channels (CHANNEL=standard, RUN=MeshBasic for a part; KUBECONFIG=…)
	$(if $(OWN_CLUSTER),,$(MAKE) --no-print-directory cluster; \
	  (cd test && go run ./cluster load $(CURDIR)/dist/controller.tar $(CURDIR)/dist/proxy.tar);) \
	cd test && go run ./conformance $(if $(CHANNEL),-channel $(CHANNEL)) $(if $(RUN),-run $(RUN)) \
	  $(if $(OWN_CLUSTER),-kubeconfig $(abspath $(KUBECONFIG)))

# --- demo ---

.PHONY: demo
demo: build images ## the mesh at work: cluster, control plane, a shop, and who talks to whom (KUBECONFIG=… for a cluster of yours)
	cd test && go run ./demo $(if $(filter command\ line,$(origin KUBECONFIG)),--kubeconfig $(abspath $(KUBECONFIG)))

.PHONY: demo-images
demo-images: ## dist/shop.tar and dist/redis.tar
	cd test && go run ./demo images

.PHONY: guides
guides: demo ## docs/guides, command by command as they stand, on the demo's cluster (GUIDE=canary for one; KUBECONFIG=…)
	$(call need,curl,curl)
	cd test && go run ./guides $(GUIDE) $(if $(filter command\ line,$(origin KUBECONFIG)),--kubeconfig $(abspath $(KUBECONFIG)))

# --- benchmark ---

.PHONY: bench
bench: ## what a pair of proxies costs beside others (BENCH=quick: under five minutes, BENCH=long: half a day)
	$(call need,haproxy,haproxy)
	$(call need,nginx,nginx libnginx-mod-stream)
	$(call need,wrk,wrk)
	$(call need,h2load,nghttp2-client)
	$(call need,strace,strace)
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags '-s -w' -o bin/tulle-proxy ./cmd/tulle-proxy
	cd test && go build -o ../bin/bench/ ./bench/...
	bin/bench/bench -root . -scale $(or $(BENCH),normal) $(BENCH_FLAGS)
