"""A second factor for whoever wants one: codes of an app, recovery codes, passkeys; allauth behind our own doors."""
