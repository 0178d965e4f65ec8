"""From a request to scores: what is asked, planned, checked, estimated, run and stored."""
