"""HTTP for Grok video: flows say what to send, carriers send it."""
