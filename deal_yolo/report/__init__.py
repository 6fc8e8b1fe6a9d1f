"""Pages and positions from what was found."""
