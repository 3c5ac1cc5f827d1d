"""The course from the terminal: chapters run without opening them, how far they came, the exercises."""
