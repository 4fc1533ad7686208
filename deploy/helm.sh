#!/usr/bin/env bash
# The chart on the cluster of KUBECONFIG, in place of what `pgo install` made there: installed by helm, a database is made and serves,
# it is upgraded to two operators, and uninstalled; the database serves on.
#   PGO=… HELM=… deploy/helm.sh OPERATOR_IMAGE POSTGRES_IMAGE
# For clusters that nobody uses: what `pgo install` made is uninstalled first, with the definitions.
set -euo pipefail
cd "$(dirname "$0")/.."
image=$1 postgres=$2
pgo=${PGO:?} helm=${HELM:?}
place=pgop-by-helm space=pgop-chart-test
step() { echo "helm.sh: $*"; }
release() { # install|upgrade ARGUMENT...
  "$helm" "$1" pgop charts/pgop -n "$place" --set "image.repository=${image%:*},image.tag=${image##*:}" --wait --timeout 3m "${@:2}" >/dev/null
}
# With the row of before.
serves() { [ "$("$pgo" psql -n "$space" orders -- -Atc 'select n from kept')" = 42 ]; }

if [ -n "$(kubectl get pgdatabases,pgclusters,pgbackups -A -o name 2>/dev/null)" ]; then
  echo "helm.sh: this cluster has databases: not here" >&2
  exit 1
fi
"$pgo" uninstall --yes --crds --wait >/dev/null
kubectl delete namespace "$space" "$place" --ignore-not-found >/dev/null

step install
release install --create-namespace
kubectl create namespace "$space" >/dev/null
"$pgo" create database -n "$space" orders --image "$postgres" --storage-size 64Mi --wait --timeout 3m
"$pgo" psql -n "$space" orders -- -qc 'create table kept as select 42 as n'
serves

step upgrade
release upgrade --set replicas=2
[ "$(kubectl get deployment -n "$place" -o jsonpath='{.items[*].status.readyReplicas}')" = 2 ]
"$pgo" show database -n "$space" orders

step uninstall
"$helm" uninstall pgop -n "$place" --wait >/dev/null
kubectl get crd pgdatabases.pgop.dev >/dev/null # and with it every database
serves

kubectl delete namespace "$place" >/dev/null
step install again
release install --create-namespace
"$pgo" delete database -n "$space" orders --yes --wait --timeout 3m
"$helm" uninstall pgop -n "$place" --wait >/dev/null
kubectl delete namespace "$space" "$place" >/dev/null
echo "helm.sh: ok"
