"""One module per flow: connect, access, revoke, and the clients they act as."""
