#!/usr/bin/env bash
# The operator's image and that of pgo, from programs that cargo has built, with buildah: needs root and Debian, and no daemon.
#   deploy/image.sh FOLDER OUT pull|debootstrap operator|pgo...
# FOLDER holds pgop-operator and pgo; the variable AGENT names a static pgop-agent (`make agent`), which the operator's image carries.
# OUT/operator.tar and OUT/pgo.tar are made, which docker, podman and containerd load; the images are called
# pgop/operator:dev and pgop/pgo:dev (IMAGE_TAG names another tag). The base image is pulled, or made by debootstrap under its upstream name where no registry can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=$1 out=$2 base=$3
shift 3
BASE=docker.io/library/debian:12-slim
tag=${IMAGE_TAG:-dev}
store=$out/store
buildah() { command buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }
mkdir -p "$out" "$store"

# What the upstream image is made of: a minimal Debian without documentation and lists of packages.
debian() {
  local root=$store/debian container
  [ -f "$store/debian.done" ] || {
    rm -rf "$root"
    debootstrap --variant=minbase bookworm "$root" "$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources)" >"$store/debootstrap.log" 2>&1 ||
      { tail -5 "$store/debootstrap.log" >&2; exit 1; }
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
    # How this machine reaches Debian's packages, if it has a way of its own.
    grep -l '^Acquire::' /etc/apt/apt.conf.d/* | xargs -r cp -t "$root/etc/apt/apt.conf.d"
    touch "$store/debian.done"
  }
  container=$(buildah from scratch)
  buildah copy -q "$container" "$root" / >/dev/null
  buildah config --cmd bash "$container"
  buildah commit -q --rm "$container" "$BASE" >/dev/null
}

if [ "$base" = debootstrap ]; then
  if ! buildah images -q "$BASE" >/dev/null 2>&1; then debian; fi
  pull=never
else
  pull=false
fi
image() { # NAME DOCKERFILE PROGRAM...
  local context program
  context=$(mktemp -d)
  for program in "${@:3}"; do ln "$program" "$context" 2>/dev/null || cp "$program" "$context"; done
  buildah build -q --isolation chroot --pull="$pull" --target prebuilt -f "$2" -t "docker.io/pgop/$1:$tag" "$context" >/dev/null
  rm -rf "$context" "$out/$1.tar"
  buildah push -q "docker.io/pgop/$1:$tag" "docker-archive:$out/$1.tar:docker.io/pgop/$1:$tag"
  buildah rmi "docker.io/pgop/$1:$tag" >/dev/null # the archive is what is wanted
  echo "image: pgop/$1:$tag is in $out/$1.tar ($(du -h "$out/$1.tar" | cut -f1))"
}
for name; do
  case $name in
  operator) image operator pgop-operator/Dockerfile "$programs/pgop-operator" "${AGENT:?names a static pgop-agent}" ;;
  pgo) image pgo pgop-operator/Dockerfile.pgo "$programs/pgo" ;;
  *) echo "image: operator or pgo, not $name" >&2; exit 2 ;;
  esac
done
