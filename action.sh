#!/usr/bin/env bash
# What action.yml runs: the audit, its summary and badge, and then the audit's own exit code.
set -u
read -r -a candidates <<< "$UNLEARNED"
if [ -z "$ORIGINAL" ]; then
  # The command takes the original first; where it stands in audit.toml, it is read from there.
  ORIGINAL=$(python - "$CONFIG" <<'END'
import os, sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(os.path.join(os.path.dirname(sys.argv[1]), tomllib.load(file)["models"]["original"]))
END
  ) || exit 2
fi
audit compare "$ORIGINAL" "${candidates[@]}" --config "$CONFIG" --expect "$EXPECT" --out "$OUT"
code=$?
if [ -f "$OUT/ranking.csv" ]; then
  outcome=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["candidates"][0]["outcome"])' "$OUT/ranking.json")
  for results in "$OUT"/*/results.json; do
    audit export "$results" --markdown >> "$GITHUB_STEP_SUMMARY"
  done
elif [ -f "$OUT/results.json" ]; then
  outcome=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["verdict"]["outcome"])' "$OUT/results.json")
  audit export "$OUT" --markdown >> "$GITHUB_STEP_SUMMARY"
  audit export "$OUT" --badge --out "$OUT/badge.json"
else
  outcome=none
  echo "The audit could not be carried out (exit code $code); the log says why." >> "$GITHUB_STEP_SUMMARY"
fi
echo "outcome=$outcome" >> "$GITHUB_OUTPUT"
exit "$code"
