"""HTTP client for the Grok video API: flows define the calls, carriers send them."""
