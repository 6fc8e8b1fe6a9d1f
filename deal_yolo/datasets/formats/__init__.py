"""The forms in which data sets are published, each read into the same records."""
