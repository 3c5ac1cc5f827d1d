"""What a notebook imports: exercises, checks, the quiz, charts, graphs and arrivals."""
