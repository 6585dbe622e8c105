"""Any other image."""
