# The front door. `make` or `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
NPM ?= npm
# Folder that `make demo` keeps its data in; delete it to begin again.
DATA ?= data/demo
# Further arguments of `davy demo`, such as DEMO="--http 127.0.0.1:8090 --plants 5".
DEMO ?=

# Packages of the system that tests talk to.
APT := gcc pkg-config python3-venv mbpoll libmodbus-dev mosquitto mosquitto-clients victoria-metrics chromium fonts-noto-cjk
# Version of the Modbus server in Python that the gateway is tested against.
PYMODBUS := 3.16.1

DAVY := target/release/davy
CONSOLE := console/dist/index.html
CONSOLE_SOURCES = $(shell find console -type d '(' -name node_modules -o -name dist ')' -prune -o -type f -print)

.PHONY: help demo build console test lint fmt console-test smoke bench tools apt rust node clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---- run ---------------------------------------------------------------------------------------

demo: build ## Build and run everything in one process: plants, gateways, centre, console
	@echo "== demo: data in $(DATA); Ctrl-C ends it"
	@$(DAVY) demo --data "$(DATA)" $(DEMO)

build: $(CONSOLE) | rust ## Build the console and the release binaries
	@echo "== 2 of 2: Rust, release (some minutes when cold)"
	$(CARGO) build --release --locked --workspace --bins

console: $(CONSOLE) ## Build the web console alone

$(CONSOLE): console/node_modules/.package-lock.json $(CONSOLE_SOURCES)
	@echo "== 1 of 2: the console"
	cd console && $(NPM) run build
	@touch $@ src/api/console.rs # which embeds the pages: cargo would not see new ones

console/node_modules/.package-lock.json: console/package.json console/package-lock.json | node
	@echo "== the console's packages"
	cd console && $(NPM) ci
	@touch $@

# ---- test --------------------------------------------------------------------------------------

test: tools lint console-test ## All tests, with what they need installed first
	$(CARGO) build --locked --workspace --bins # which some tests start, and kill
	$(CARGO) test --locked --workspace

lint: $(CONSOLE) | rust ## Format and lints, warnings refused
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: | rust ## Format the Rust code
	$(CARGO) fmt --all

console-test: $(CONSOLE) ## Types and unit tests of the console
	cd console && $(NPM) run check

smoke: build ## Drive the release binary as a stranger would; ends in `N passed, N failed`
	DAVY_BIN="$(CURDIR)/$(DAVY)" $(CARGO) test --release --locked --package davy --test smoke

bench: tools $(CONSOLE) | rust ## Figures beside their goals, a line each
	@log="$$(mktemp)"; trap 'rm -f "$$log"' EXIT; \
	$(CARGO) bench --locked --workspace --bench '*' 2>&1 | tee "$$log"; \
	echo "== figures"; grep -E '^[a-z0-9_]+: .* \(goal (>=|<=) [^)]*\)$$' "$$log"

# ---- what tests need ---------------------------------------------------------------------------

tools: apt target/venv/pymodbus-$(PYMODBUS) target/tools/libmodbus-server ## Install what tests talk to

# More of `tools`: the servers that sinks are tested against.
-include tests/tools.mk

apt:
	@missing=(); for package in $(APT); do \
	  [[ "$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null)" == installed ]] || missing+=("$$package"); \
	done; \
	[[ $${#missing[@]} -eq 0 ]] && exit 0; \
	if [[ $$(id -u) -eq 0 ]]; then root=(); elif sudo -n true 2>/dev/null; then root=(sudo -n); else \
	  echo "tests need these Debian packages; install them as root: apt-get install $${missing[*]}" >&2; exit 1; \
	fi; \
	echo "== installing $${missing[*]}"; \
	"$${root[@]}" apt-get update -qq; \
	"$${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"

target/venv/pymodbus-$(PYMODBUS): | apt
	python3 -m venv target/venv
	target/venv/bin/pip install --quiet --disable-pip-version-check pymodbus==$(PYMODBUS)
	@touch $@

target/tools/libmodbus-server: tests/devices/libmodbus_server.c | apt
	@mkdir -p $(@D)
	gcc -O1 -Wall -Wextra -Werror $$(pkg-config --cflags libmodbus) -o $@ $< $$(pkg-config --libs libmodbus)

# ---- the machine -------------------------------------------------------------------------------

rust:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: install the version that Cargo.toml names, with cargo on the path" >&2; exit 1; }

node:
	@command -v $(NPM) >/dev/null || { echo "Node.js is missing: install version 20.19 or newer, with npm on the path" >&2; exit 1; }

clean: ## Delete what was built (not the data)
	rm -rf target console/dist console/node_modules
