"""What a provider is, and what a tenant exports."""
