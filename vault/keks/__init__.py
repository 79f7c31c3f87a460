"""The key encryption keys, one module an adapter; `vault.keyring` imports what `VAULT_KEK` names and nothing else."""
