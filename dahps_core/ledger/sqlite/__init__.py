"""The ledger's database: connections, transactions, locks, the queue of writers, and the SQL."""
