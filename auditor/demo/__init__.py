"""Small worlds of known truth, trained while one waits."""
