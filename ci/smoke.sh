#!/usr/bin/env bash
# Try the regression gate on this machine: record the smallest suite twice and hold the second against the first.
#   ci/smoke.sh OUT_DIR
# Nothing changed in between, and a machine that runs continuous integration is rarely quiet, so a regression
# (exit code 3) is told and passes; anything else that goes wrong fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?give a folder for the results}

rm -f "$out/baseline.json" "$out/run.json" "$out/regression.json"
"$here/regress.sh" "$here/smoke.toml" "$out/baseline.json" "$out" "$here/thresholds.toml"
code=0
"$here/regress.sh" "$here/smoke.toml" "$out/baseline.json" "$out" "$here/thresholds.toml" || code=$?
if [[ ! -f $out/regression.json ]]; then
  echo "smoke.sh: the two recordings were not compared" >&2
  exit $((code == 0 ? 1 : code))
fi
if [[ $code == 3 ]]; then
  echo "smoke.sh: the gate works; what it found is this machine's noise, for nothing changed in between" >&2
  exit 0
fi
exit "$code"
