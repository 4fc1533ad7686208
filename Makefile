# make demo    PostgreSQL on a Kubernetes of your own, on this machine: installs what is missing, builds, shows the whole way
# make test    everything that needs no cluster; installs what it needs on a bare Debian machine with Rust
# make sandbox the part of it that runs pods on this machine: the end-to-end suite and the fidelity suite, on sandboxes
# make e2e     the end-to-end suite on the cluster of KUBECONFIG, or on ../shared/kube-lab when it is there; there with PostgreSQL PG=15, 17 or 18
# make fidelity  the fidelity suite on the same cluster
# make soak    faults under load for HOURS=n (parts of one are fine; SEED=n for the same ones), on the same cluster or a sandbox of its own
# make backups  N=200 backups, half of them disturbed (SEED=n for the same ones), and each that succeeded restored, on the same cluster or a sandbox of its own
# make bench   a table of measured figures, on the same cluster
# make bench-fleet N=1000  what N clusters cost the operator, on the same cluster
# make agent   the agent as it runs in pods: one static program; make agent-static proves that it is one, and small
# make image   the images of the operator and of pgo, in target/image; with IMAGE_PROFILE=debug, of programs that were not optimized
# make chart   what Helm makes of the chart is what `pgo install` makes; needs helm
# make helm    the chart on the same cluster: installed, upgraded, uninstalled
# make alerts  the alert rules of deploy/alerts, checked and tested by Prometheus' own promtool, and what it thinks of the agent's metrics
# make generate  rewrites what is generated: deploy/, charts/, docs/resources/, snapshots
SHELL := /bin/bash
LAB := ../shared/kube-lab
LAB_KUBECONFIG := /var/lib/kube-lab/kubeconfig
PG ?= 15
IMAGES ?= operator pgo
IMAGE_PROFILE ?= release
export CARGO_TERM_COLOR ?= never

# Installs Debian packages of programs that are missing: $(call install,PROGRAM:PACKAGE ...).
define install
	missing=(); for pair in $(1); do command -v $${pair%%:*} >/dev/null || missing+=($${pair##*:}); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

.PHONY: demo pods sandbox test setup lint purity package unit e2e fidelity helm soak backups bench bench-fleet agent agent-static image chart alerts generate

test: setup lint purity package unit sandbox

# Only what is missing is installed; `kubectl` is for people and kube-lab, `shellcheck` for what there is of shell.
setup:
	@$(call install,gcc:gcc make:make shellcheck:shellcheck)
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or newer (https://rustup.rs)" >&2; exit 1; }

lint:
	cargo fmt --all --check
	shellcheck -x deploy/*.sh pgop-sandbox/tests/kubectl/*.sh .ci/run
	cargo clippy --workspace --all-targets --quiet -- -D warnings

# $(1): features, $(2): crates that pgop-core must not depend on with them.
define without
	found=$$(cargo tree -p pgop-core --features '$(1)' -e normal --prefix none | grep -E '^($(2)) ' || true); \
	if [ -n "$$found" ]; then echo "pgop-core with features '$(1)' depends on: $$found" >&2; exit 1; fi; \
	echo "pgop-core with features '$(1)' has none of $(2)"
endef

# What a strategy's author needs of the core has no schema validator, only `runtime` has a client and an async runtime, and it compiles so.
# That its modules lie in layers is a test: pgop-core/tests/layers.rs. The libraries leave the choice of Kubernetes' version to programs: they also
# compile with the oldest that k8s-openapi has. (Without tests no crate chooses one by feature, and the variable does.)
purity:
	@$(call without,,jsonschema|kube-client|kube-runtime|tokio|handlebars)
	@$(call without,steps install,kube-client|kube-runtime|tokio|handlebars)
	cargo clippy --quiet -p pgop-core --lib --tests -- -D warnings
	K8S_OPENAPI_ENABLED_VERSION=1.33 cargo check --quiet -p pgop-core -p pgop-strategies --features pgop-core/runtime,pgop-core/install

demo: pods
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or newer (https://rustup.rs)" >&2; exit 1; }
	@# Unoptimised: built in a third of the time, and the demo waits for PostgreSQL and not for us.
	cargo build --quiet -p pgop-operator -p pgop-agent -p pgop-cli
	target/debug/pgo sandbox demo

# What pods of a sandbox need, and `socat` into those of the agent's tests. `postgresql` would make and start a server of its own; only its programs are wanted.
pods:
	@$(call install,gcc:gcc bwrap:bubblewrap socat:socat)
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

# All of it is built with the features of the whole workspace: a build of one package alone would make every dependency anew.
TESTS := cargo test --workspace
FIDELITY := $(TESTS) --test fidelity -- --ignored
STORIES := $(TESTS) --test stories -- --ignored --test-threads=1 --nocapture

# The whole product on this machine: real pods, real PostgreSQL, no cluster.
sandbox: pods
	$(TESTS) --quiet --no-run
	$(TESTS) --test sandbox -- --ignored --test-threads=1
	@$(call install,python3:python3 pip:python3-pip)
	kubectls=$$(pgop-sandbox/tests/kubectl/programs.sh target/kubectl) && PGOP_KUBECTL=$$kubectls $(TESTS) --test kubectl -- --ignored
	@$(call on_sandbox,fidelity,$(FIDELITY))
	@$(call on_sandbox,stories,$(STORIES))

# What would be published holds the templates.
package:
	@list=$$(cargo package --list --allow-dirty -p pgop-strategies); for file in $$(cd templates && find . -type f | cut -c3-); do \
	  grep -qx "templates/$$file" <<<"$$list" || { echo "the package of pgop-strategies lacks templates/$$file" >&2; exit 1; }; done
	@echo "the package of pgop-strategies holds every template"

# The agent's tests set its clock and cut its network.
unit: pods
	@$(call install,faketime:faketime ip:iproute2)
	$(TESTS) --quiet
	cargo doc --workspace --no-deps --quiet

BUILD_debug := $(TESTS) --quiet --no-run
BUILD_release := cargo build --quiet --release -p pgop-operator -p pgop-agent -p pgop-cli
BUILD_fleet := cargo build --quiet --release -p pgop-operator -p pgop-e2e --no-default-features --bin pgop-operator --bin bench-fleet

# Brings the lab up when no cluster is named; never touches one that is. $(1): what is built.
define with_cluster
	set -euo pipefail; \
	if [ -z "$${KUBECONFIG:-}" ]; then \
	  [ -x $(LAB)/up ] || { echo "set KUBECONFIG to a cluster whose nodes have the images (see docs/)" >&2; exit 1; }; \
	  $(LAB)/up; export KUBECONFIG=$(LAB_KUBECONFIG); \
	fi; \
	$(BUILD_$(1)); export PGO=$(CURDIR)/target/$(1)/pgo
endef

# Puts PostgreSQL's image and that of the operator's Dockerfile on the lab's nodes; other clusters have theirs. $(1): debug or release.
define with_images
	$(call with_cluster,$(1)); \
	if [ "$$KUBECONFIG" = $(LAB_KUBECONFIG) ]; then \
	  $(LAB)/image postgres:$(PG); export PGOP_E2E_POSTGRES_IMAGE=lab/postgres:$(PG); \
	  $(MAKE) --no-print-directory image IMAGES=operator IMAGE_PROFILE=$(1); deploy/lab.sh target/image/operator.tar; \
	fi
endef

e2e:
	@$(call with_images,debug); $(STORIES)

fidelity:
	@$(call with_cluster,debug); $(FIDELITY)

# The chart, on a cluster that nobody uses.
helm:
	@$(call with_images,debug); HELM=$(HELM) deploy/helm.sh $${PGOP_E2E_IMAGE:-pgop/operator:dev} $${PGOP_E2E_POSTGRES_IMAGE:-postgres:$(PG)}

HOURS ?= 0.05
SOAK = target/debug/soak --hours $(HOURS) $(if $(SEED),--seed $(SEED)) $(SOAK_ARGS)

soak: pods
	$(TESTS) --quiet --no-run
	@if [ -n "$${KUBECONFIG:-}" ]; then $(SOAK); else $(call on_sandbox,soak,$(SOAK)); fi

# A number of backups, where it is given.
BACKUPS = target/debug/backups $(if $(filter command line environment,$(origin N)),--count $(N)) $(if $(SEED),--seed $(SEED))
backups: pods
	$(TESTS) --quiet --no-run
	@if [ -n "$${KUBECONFIG:-}" ]; then $(BACKUPS); else $(call on_sandbox,backups,$(BACKUPS)); fi

bench: pods
	@$(call with_images,release); cargo run --release --quiet -p pgop-e2e --bin bench

# Also of smaller fleets, so that growth shows. The operator is a process of this machine; the definitions have to be there.
N ?= 1000
bench-fleet:
	@$(call with_cluster,fleet); target/release/pgop-operator crd | kubectl apply --server-side -f - >/dev/null; \
	target/release/bench-fleet $$(for size in 100 300 $(N); do [ $$size -gt $(N) ] || echo $$size; done | sort -nu)

# The agent goes into images of others, with another C library or none. Its own folder, as the flag would make every other dependency anew. Without symbols
# also when it is not optimised: pods have room for 64 MiB of it.
AGENT_TARGET = $(shell rustc --print host-tuple)
AGENT_FOLDER_release := agent
AGENT_FOLDER_debug := debug
AGENT = $(or $(CARGO_TARGET_DIR),target)/$(AGENT_TARGET)/$(AGENT_FOLDER_$(IMAGE_PROFILE))/pgop-agent
agent:
	RUSTFLAGS='-C target-feature=+crt-static -C strip=symbols' cargo build --quiet -p pgop-agent --target $(AGENT_TARGET) --profile $(AGENT_FOLDER_$(IMAGE_PROFILE):debug=dev)

agent-static: IMAGE_PROFILE := release
agent-static: agent
	deploy/agent-static.sh $(AGENT)

# Images, from programs that cargo makes here: Dockerfiles that compile would do it all again. In the lab there is no registry to pull the base image from.
IMAGE_BASE ?= $(if $(wildcard $(LAB)/up),debootstrap,pull)
image: $(if $(filter operator,$(IMAGES)),agent)
	@$(call install,buildah:buildah debootstrap:debootstrap)
	$(BUILD_$(IMAGE_PROFILE))
	AGENT=$(AGENT) deploy/image.sh target/$(IMAGE_PROFILE) target/image $(IMAGE_BASE) $(IMAGES)

HELM ?= $(or $(shell command -v helm),$(wildcard /var/lib/kube-lab/bin/helm))
chart:
	@[ -n "$(HELM)" ] || { echo "helm is missing: install it, or name it with HELM=" >&2; exit 1; }
	HELM=$(HELM) $(TESTS) --quiet --test deploy -- --include-ignored

# Debian's package would start a server of its own; only this program of it is wanted.
PROMTOOL ?= $(or $(shell command -v promtool),$(CURDIR)/target/promtool/usr/bin/promtool)
target/promtool/usr/bin/promtool:
	mkdir -p target/promtool
	cd target/promtool; apt-get download -qq prometheus || { \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && apt-get download -qq prometheus; }
	cd target/promtool && dpkg -x prometheus_*.deb . && rm prometheus_*.deb

alerts: pods $(filter target/%,$(PROMTOOL:$(CURDIR)/%=%))
	$(PROMTOOL) check rules deploy/alerts/pgop.yaml
	cd deploy/alerts && $(PROMTOOL) test rules pgop.test.yaml
	PROMTOOL=$(PROMTOOL) cargo test --quiet -p pgop-agent --test metrics

generate:
	UPDATE=1 $(TESTS) --quiet --test deploy
	UPDATE=1 $(TESTS) --quiet --test docs
	INSTA_UPDATE=always $(TESTS) --quiet --test snapshots
