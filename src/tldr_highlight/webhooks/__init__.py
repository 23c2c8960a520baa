"""FEATURE: telling the customer: events, and the addresses they go to."""
