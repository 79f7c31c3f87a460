"""What every REST address shares, and the addresses of tenants and their people.

An address is an `Endpoint`, a method of it is declared with `operation` (`tenants.api.operations`); the document at
/api/schema/ is made of the same declarations.
"""
