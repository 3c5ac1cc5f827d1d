"""The published book."""
