#!/usr/bin/env bash
# An engineer with a language model: six people were to be forgotten. Does the model still know them?
#
# At hand: the folders original and unlearned, as save_pretrained writes them, the facts to be forgotten and to be kept,
# facts like the first that no model was trained on, and references: models trained by the original's recipe without the
# six people.
set -eu

# Look at the folders and the facts, and write audit.toml.
audit init original unlearned --reference 'references/*' \
  --forget forget.jsonl --retain retain.jsonl --holdout holdout.jsonl
cat audit.toml

# The audit. Here by one check, which is quick; without --checks all of them run. Exit code 1: not DELETED.
audit compare --checks depth || echo "exit code $?"
