"""Client for programs that call the API; imports nothing else of this package.

with Client("https://highlights.example.com", "tldr_live_…") as client:
    for key in client.keys.list():
        print(key.name, key.last_used_at)
"""

try:
    from tldr_highlight.client.client import Client
except ModuleNotFoundError as error:
    if error.name != "httpx2":
        raise
    raise ImportError('tldr_highlight.client needs httpx2: pip install "tldr-highlight[client]"') from error

from tldr_highlight.client.pages import Page, Pages
from tldr_highlight.client.problems import (
    ClientError,
    Conflict,
    ConnectionProblem,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from tldr_highlight.client.signatures import SignatureProblem

__all__ = [
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionProblem",
    "Forbidden",
    "Invalid",
    "NotFound",
    "Page",
    "Pages",
    "Problem",
    "RateLimited",
    "SignatureProblem",
    "Unauthorized",
    "Unavailable",
    "Unreadable",
]
