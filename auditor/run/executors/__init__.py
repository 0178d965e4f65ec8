"""Where units of work are computed: one module for each executor. Nothing heavy is loaded here."""
