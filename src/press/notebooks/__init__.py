"""The producer: a lesson becomes its executed notebook, its exercises and its solutions."""
