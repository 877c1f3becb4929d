"""What a ledger shows: trials, listings, rankings, status, exports. Nothing here writes."""
