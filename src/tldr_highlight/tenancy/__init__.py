"""FEATURE: who is calling: users, organizations, keys, logins, plans, limits."""
