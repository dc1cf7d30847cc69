"""Where purchases are booked and budgets are kept."""
