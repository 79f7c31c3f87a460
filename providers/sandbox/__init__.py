"""A small provider that speaks Sentry's own API and OAuth, with made-up data, for trying and testing."""
