"""Processes on this machine that a chapter or a command starts."""
