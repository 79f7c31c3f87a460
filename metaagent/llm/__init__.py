"""Speaks to language models for the agent core."""
