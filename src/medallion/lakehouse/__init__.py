"""The lakehouse as folders and files, without Spark."""
