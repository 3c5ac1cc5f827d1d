"""A lesson read and ruled: its cells, its starters, its rules, and the pages made of them."""
