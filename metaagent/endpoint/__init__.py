"""The MCP wire: bytes to values and back. Makes no decisions."""
