"""The authorization server for MCP clients: django-oauth-toolkit, and the policy it runs under."""
