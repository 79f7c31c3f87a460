"""The agent core: decides, and asks for what it needs through ports. Async, and knows no Django."""
