"""What a check is, which checks there are, and what each has to keep to. The checks themselves: probes, attacks."""
