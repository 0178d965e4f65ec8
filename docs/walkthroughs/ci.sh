#!/usr/bin/env bash
# The owner of a CI: no model is released unless the audit says DELETED.
#
# At hand: models, data, network.py and references, and what the audits have in common in audit.toml.
set -eu

cat > audit.toml <<'END'
[models]
original = "original.pt"
references = ["references/reference-*.pt"]
architecture = "network.py:build"

[data]
forget = "forget.npz"
retain = "retain.npz"
retain_test = "retain_test.npz"
holdout = "holdout.npz"

[request]
kind = "class"

[audit]
checks = ["few_shot", "relearning", "slow_relearning"]
END

# The release as a test among the others. (Without pytest, the exit code of `audit compare --expect deleted` is the
# answer.)
cat > test_unlearning.py <<'END'
def test_release_is_deleted(audit):
    result = audit.compare("original.pt", "unlearned.pt")
    audit.assert_deleted(result)
END
python -m pytest -q -p no:cacheprovider test_unlearning.py
