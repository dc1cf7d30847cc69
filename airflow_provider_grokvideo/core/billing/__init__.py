"""Prices, budgets, ledger entries, reports."""
