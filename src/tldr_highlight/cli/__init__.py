"""Door for the shell."""
