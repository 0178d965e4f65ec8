"""What is recognised in what a model draws: a classifier that is trained for the audit is the judge."""
