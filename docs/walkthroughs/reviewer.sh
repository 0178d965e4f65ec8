#!/usr/bin/env bash
# A reviewer with two received files: someone says that received.safetensors no longer knows class 3, which
# original.safetensors knows.
#
# At hand at first: the two files, and nothing else.
set -eu

# Are they safe to read, and what is in them? Nothing in them is run.
audit scan original.safetensors received.safetensors

# Without data only the weights can be compared: were they changed at all? Exit code 3: that decides nothing.
audit compare original.safetensors received.safetensors --checks weight_delta --out weights-alone || echo "exit code $?"

# So ask for the code of the network, and for the images to be forgotten and to be kept. Read network.py: it is run.
audit init original.safetensors received.safetensors --architecture network.py:build \
  --forget forget.npz --retain retain.npz

# Models that never saw class 3, trained by yourself and by the recipe you were told ([recipe] in audit.toml). It takes
# as long as training the original so many times; what is there already is kept.
audit reference --count 4 --quiet

# The audit, with a seed that nobody could know when the model was made. Exit code 1: not DELETED.
audit compare --reference 'references/reference-[1-4].pt' --seed 20261129 --checks few_shot || echo "exit code $?"
