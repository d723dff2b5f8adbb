#!/usr/bin/env bash
# Record the suite and hold it against the baseline. For any CI system, or by hand.
#   ci/regress.sh SUITE.toml BASELINE.json OUT_DIR [THRESHOLDS.toml]
# Exit code: 0 no regression (or a first baseline was written), 3 regression, 1 or 2 something is wrong.
set -euo pipefail

suite=${1:?give the suite, e.g. ci/suite.toml}
baseline=${2:?give the baseline, e.g. ci/baseline.json}
out=${3:?give a folder for the results}
thresholds=${4:-}
advisor=${ADVISOR:-advisor}

mkdir -p "$out" "$(dirname "$baseline")"
"$advisor" bench --suite "$suite" -o "$out/run.json"

if [[ ! -f $baseline ]]; then
  cp "$out/run.json" "$baseline"
  echo "regress.sh: no baseline yet, $baseline was written; keep it (commit it, or store it as an artifact)" >&2
  exit 0
fi

options=(--junit "$out/junit.xml" --markdown "$out/comment.md" --badge "$out/badge.svg" -o "$out/regression.json")
[[ -n $thresholds ]] && options+=(--thresholds "$thresholds")
[[ -n ${GITHUB_ACTIONS:-} ]] && options+=(--annotations)
code=0
"$advisor" regress "${options[@]}" "$baseline" "$out/run.json" || code=$?
[[ -f $out/regression.json ]] && "$advisor" report "$out/regression.json" "$out/run.json" -o "$out/report.html"
exit "$code"
