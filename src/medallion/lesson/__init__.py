"""The lesson in a notebook: exercises, their checks and progress, the quiz, charts, graphs and arrivals."""
