"""Scoring what was found against labels, and comparing models."""
