"""Checking a ledger's integrity, and recovering what a damaged one still holds."""
