"""WORKFLOW: sign-up, login, members, plan changes: what takes several features at once."""
