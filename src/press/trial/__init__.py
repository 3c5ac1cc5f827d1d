"""`medallion test`: notebooks replayed, tools and tests in two lanes."""
