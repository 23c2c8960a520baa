"""How fast the API answers, and where its time goes."""
