"""FEATURE: what was consumed, and how much of the plan that is."""
