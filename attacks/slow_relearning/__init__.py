"""The same by an attacker with patience: few examples, many steps."""
