"""Where the original held the knowledge, and whether that place still holds it."""
