"""The Spark session, and what it knows of the lakehouse."""
