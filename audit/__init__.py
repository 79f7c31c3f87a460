"""Who did what: append-only facts, kept by nobody but this app."""
