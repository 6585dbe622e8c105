"""Back to the baseline: what notes what is touched, and what puts it back."""
