"""Ledger of purchases, which enforces budgets."""
