"""The files in a ledger's folder beside its database."""
