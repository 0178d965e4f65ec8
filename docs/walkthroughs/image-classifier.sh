#!/usr/bin/env bash
# An engineer with an image classifier: the class 3 was to be forgotten. Is it gone, or only hidden?
#
# At hand: original.pt, unlearned.pt, network.py with the function `build` that makes the network, the images to be
# forgotten and to be kept, images of both kinds that no model was trained on, and references: models trained by the
# original's recipe without class 3 (`audit reference` trains them).
set -eu

# Look at the files, and write audit.toml: what they are, and what is yours to decide.
audit init original.pt unlearned.pt --architecture network.py:build --reference 'references/reference-*.pt' \
  --forget forget.npz --retain retain.npz --retain-test retain_test.npz --holdout holdout.npz
cat audit.toml

# What would an audit do, what would it cost, and could it end in DELETED?
audit compare --dry-run

# The audit. Here by one check, which is quick; without --checks all of them run. Exit code 1: not DELETED.
audit compare --checks few_shot || echo "exit code $?"
