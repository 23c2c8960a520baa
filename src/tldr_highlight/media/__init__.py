"""Engine: paths, readers and times in; files out. Knows no database and no web."""
