"""The built site in a real browser: what a reader with a mouse, a keyboard, a phone or a screen reader gets."""
