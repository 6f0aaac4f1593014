# poise: build, test, try. `make help` lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X github.com/poise-lb/poise/internal/version.Version=$(VERSION)
# The conformance kit and what goes through it: processes of their own, most of the time
# waiting, for which the race detector sees nothing.
KIT = cmd/poise-plugin sdk/plugintest sdk/templates
PACKAGES = user-mode-linux ipvsadm keepalived iproute2 kmod tcpdump protobuf-compiler libprotobuf-dev nftables gcc libc6-dev redis-server mariadb-server python3-grpcio python3-protobuf dnsmasq-base nginx-light openssl curl frr ansible

.DEFAULT_GOAL := help
.PHONY: help build deps test unit lab-test demo lab pairs soak bench fuzz generate lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## static bin/poised, bin/poise, bin/poise-plugin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

deps: ## install what tests and demo need from Debian's packages (says which)
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

test: deps build unit lab-test ## everything: unit, property, fuzz seeds, race detector, the lab
	@echo "all tests passed"

unit: build ## all packages but the lab and the kit, under the race detector; VRRP and BFD with real peers
	go vet ./...
	go test -race -parallel 8 -timeout 10m $$(go list ./... | grep -v -e /e2e $(KIT:%=-e %))

lab-test: build ## scenarios on a real IPVS kernel (user-mode Linux); beside it what runs on this one, and first-party plugins through the conformance kit
	go test -count=1 -timeout 20m ./e2e
	go test -count=1 -timeout 14m -v -run BriefPairs ./e2e/parity
	go test -count=1 -p 2 -timeout 14m $$(go list ./e2e/... | grep -v -e /parity -e /e2e$$ -e /e2e/f5) $(KIT:%=./%/...)
	go test -count=1 -timeout 14m ./e2e/f5

pairs: build ## every check by poised and keepalived, fault by fault; the table is in the output
	go test -count=1 -timeout 60m -v ./e2e/parity

demo: deps build ## two directors, two real servers, kills and a timeline; under two minutes
	go run ./e2e/cmd/demo

lab: deps build ## run CMD in the lab: make lab CMD='ip netns exec a ipvsadm -Ln'
	go run ./e2e/cmd/lab $(if $(CMD),'$(CMD)')

soak: deps build ## what takes longer than make test: 1,000 kills, 100,000 probes of each type and more
	POISE_SOAK=1 go test -count=1 -timeout 120m -run 'Soak|TestCheckers|TestConform|TestAppliance|TestTraffic' -v $$(go list ./e2e/... | grep -v /parity) ./core/pluginhost ./cmd/poise-plugin
	$(MAKE) pairs

bench: deps build ## CPU, memory and lateness of checks, poised and keepalived in turns (10 minutes); keepalived is left out without a source for -shim
	go run ./e2e/cmd/bench

fuzz: ## every fuzz target for 20 s each
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	  echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime 20s -fuzzminimizetime 10x $$p || exit 1; done; done

generate: ## Go and Python code from the protos
	proto/generate.sh
	examples/checker-mysql-py/generate.sh

lint: ## vet, format, buf lint, and buf breaking against the accepted interfaces
	go vet ./...
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	proto/lint.sh

clean: ## remove what was built
	rm -rf bin build
