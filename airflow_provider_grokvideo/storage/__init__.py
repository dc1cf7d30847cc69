"""Directories and destinations, local and in object stores."""
