"""Data sets: read, convert, check, describe, cut into windows, augment."""
