"""Sound and pictures from random numbers: nothing here knows of events or labels."""
