"""Engine: segments in, scored moments out. Knows no database and no web."""
