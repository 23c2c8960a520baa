"""How fast, how small and how exact clips are, beside others.

- `contest`: who takes part, what is cut, what the figures must be
- `worker`: our own contestant, a process that stays
- `correct`: whether a clip holds what it should, whoever made it
- `server`: a file server behind a slow link, which counts
"""
