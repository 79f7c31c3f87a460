"""The pages of a tenant's administrators and auditors that bring several apps together; sync Django."""
