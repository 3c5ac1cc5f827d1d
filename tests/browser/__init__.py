"""The built site in a real browser: what a mouse, a keyboard, a phone or a screen reader gets."""
