# SPDX-License-Identifier: Apache-2.0
# make, or make help: what there is to make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
JOBS := $(shell nproc)
# The distribution's Python: the tests use its pytest and yaml packages.
PYTHON ?= /usr/bin/python3
export PYTHONDONTWRITEBYTECODE := 1
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider -q
SOURCES = $(shell git ls-files --cached --others --exclude-standard 'agent/*' 'bpf/*' 'config/*' 'l7engine/*' 'tests/*' | \
	grep -E '\.(c|h|cpp|hpp)$$')
# The tests whose threads meet: base, the agent's loop, link and sources, the engine's workers and their hand-over.
TSAN_TESTS := unit_base unit_io unit_source unit_pods unit_agent_cni unit_engine unit_metrics unit_agent unit_server

# Programs that the tests talk with, in Go, at the versions of go.sum: each by its package.
GO_TOOLS := ./h1record ./h2client ./h2echo ./interop github.com/summerwind/h2spec/cmd/h2spec github.com/fullstorydev/grpcurl/cmd/grpcurl


.PHONY: help setup build image tools dev demo demo-clean test test-cxx test-node test-tsan test-fuzz fuzz fuzz-nightly bench profile soak format \
	kube-up kube-install kube-test kube-scale kube-down kube-clean test-kube lint clean

help:
	@sed -n -e 's/^    make/make/p' docs/development.md

build/.setup: setup.sh
	./setup.sh
	@mkdir -p build && touch $@

setup: build/.setup

# $(call configure,PRESET): once, and again when asked by CMake itself.
define configure
@test -f build/$(1)/build.ninja || cmake --preset $(1) >build/configure-$(1).log 2>&1 || \
	{ tail -n 20 build/configure-$(1).log; exit 1; }
endef

build: setup
	$(call configure,release)
	@test -x build/release/bin/weft-agent || echo "building the programs: some ten minutes the first time"
	@ninja -C build/release -j $(JOBS) --quiet weft-agent weft-l7engine weftctl weft-cni
	@echo "programs: build/release/bin"

# What the chart runs: an OCI archive for podman, skopeo, ctr and docker. IMAGE=name:tag: another name.
image: build
	@$(PYTHON) cmake/image.py --archive build/image/weft.tar $(if $(IMAGE),--reference $(IMAGE))

build/tools/.built: $(wildcard tests/interop/go/*.* tests/interop/go/*/*.go) | setup
	@mkdir -p build/tools && cd tests/interop/go && \
		CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly go build -buildvcs=false -o ../../../build/tools/ $(GO_TOOLS)
	@touch $@

# Python programs that the tests talk with.
build/venv/.built: tests/interop/requirements.txt | setup
	@rm -rf build/venv && $(PYTHON) -m venv build/venv
	@build/venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

build/venv/.bench: tests/bench/requirements.txt build/venv/.built
	@build/venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

tools: build/tools/.built build/venv/.built

dev: setup
	$(call configure,dev)
	@ninja -C build/dev -j $(JOBS) --quiet

demo: build
	@KEEP=$(KEEP) $(PYTHON) tests/demo/demo.py

demo-clean:
	@$(PYTHON) tests/demo/demo.py --clean

test: test-cxx test-node test-tsan test-fuzz test-kube
	@echo "make test: all tiers passed"

test-cxx: dev
	@ctest --test-dir build/dev --output-on-failure --no-tests=error -j $(JOBS) -LE bpf
	@ctest --test-dir build/dev --output-on-failure --no-tests=error -L bpf

test-node: build dev tools
	@$(PYTEST) tests/node
	@WEFT_BIN=build/dev/bin $(PYTEST) tests/node -m smoke

test-tsan: setup
	$(call configure,tsan)
	@ninja -C build/tsan -j $(JOBS) --quiet $(TSAN_TESTS)
	@ctest --test-dir build/tsan --output-on-failure --no-tests=error -R '^($(subst $(eval) ,|,$(TSAN_TESTS)))$$'

# Two programs at a time, each for SECONDS.
SECONDS ?= 60
fuzz: setup
	$(call configure,fuzz)
	@ninja -C build/fuzz -j $(JOBS) --quiet
	@$(PYTHON) tests/fuzz/run.py --seconds $(SECONDS)

test-fuzz: fuzz

fuzz-nightly:
	@$(MAKE) fuzz SECONDS=900

bench: build build/venv/.bench
	@./setup.sh --bench
	@ninja -C build/release -j $(JOBS) --quiet bench_programs
	@$(PYTHON) tests/bench/bench.py $(BENCH)

# After changes to the engine's hot path; commit what it writes.
profile: setup
	@cmake/profile.sh

soak: build tools
	@$(PYTHON) tests/soak/soak.py --minutes $(or $(MINUTES),10)

# A Kubernetes cluster of two nodes on this machine: tests/kube/cluster/README.md.
build/.setup-kube: setup.sh
	./setup.sh --kube
	@mkdir -p build && touch $@

CLUSTER := $(PYTHON) tests/kube/cluster/cluster.py

kube-up: build/.setup-kube
	@$(CLUSTER) up

kube-test: kube-up image
	@$(PYTEST) tests/kube

# The same on a cluster of its own: one that is up already is used and stays.
test-kube: build/.setup-kube image
	@up=$$($(CLUSTER) is-up && echo yes || echo no); status=0; \
	$(CLUSTER) up && $(PYTEST) tests/kube || status=$$?; \
	[ $$up = yes ] || $(CLUSTER) down || status=1; exit $$status

# Weft on the cluster that is up: the image into its nodes, then helm. HELM="--set agent.logLevel=debug": more for helm.
kube-install: kube-up image
	@$(PYTHON) tests/kube/install.py $(HELM)

# An API server of its own, with a large cluster in it: docs/performance.md. Minutes.
kube-scale: build build/.setup-kube
	@$(CLUSTER) build
	@$(PYTHON) tests/kube/scale/scale.py $(SCALE)

kube-down:
	@$(CLUSTER) down

# Down, and what was built for it: minutes to build again.
kube-clean:
	@$(CLUSTER) clean

format: setup
	@clang-format-19 -i $(SOURCES)

# The checks, then every header alone. Generated code is not ours to check.
lint: dev
	@ninja -C build/dev -j $(JOBS) --quiet weft_headers
	@printf '%s\n' $(filter agent/%.cpp config/%.cpp l7engine/%.cpp,$(SOURCES)) | \
		xargs -P $(JOBS) -n 4 clang-tidy-19 -p build/dev --quiet 2> >(grep -v 'warnings generated' >&2)

clean:
	rm -rf build/release build/dev build/tsan build/fuzz build/demo
