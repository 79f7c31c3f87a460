"""The agent core, the MCP endpoint, and the Django project that joins them to the apps."""

__version__ = "0.1.0"
