"""E-mail addresses: which are taken, how they are kept, compared, and written for mail servers.

No name is looked up: whether an address exists is found out by writing to it.
"""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from tldr_highlight.errors import EmailError

LONGEST = 254
"""Bytes of an address (RFC 5321, 4.5.3.1.3, without the angle brackets)."""


def normal_address(text: str) -> str:
    """The address as it is stored and shown: domain in lower case and its own letters, NFC, no space around.

    The domain needs a dot. Names reserved for other uses (`localhost`, `.local`, `.invalid`, `.onion`) are
    refused; those for examples and tests (`example.com`, `.example`, `.test`) are not.

    Raises:
        EmailError: not an address, or longer than 254 bytes.
    """
    address = _validated(text)
    return f"{address.local_part}@{address.domain}"


def address_key(text: str) -> str:
    """What two addresses of one person have in common: `Ann@Example.com` and `ann@example.com` are one.

    Only for comparing: a mail server may tell upper from lower case before the @-sign, though few do.

    Raises:
        EmailError: not an address.
    """
    return unicodedata.normalize("NFC", normal_address(text).casefold())


def wire_address(text: str) -> str:
    """The address as mail servers take it: the domain in ASCII.

    It is ASCII altogether but for letters before the @-sign, for which servers need SMTPUTF8.

    Raises:
        EmailError: not an address.
    """
    address = _validated(text)
    return f"{address.local_part}@{address.ascii_domain}"


def _validated(text: str) -> ValidatedEmail:
    if len(text) > LONGEST:  # before anything looks at it more closely
        raise EmailError(f"an e-mail address has at most {LONGEST} characters")
    try:
        # strict: 64 bytes before the @-sign; a test environment is where .test is allowed
        address = validate_email(text.strip(), check_deliverability=False, strict=True, test_environment=True)
    except EmailNotValidError as error:
        raise EmailError(f"not an e-mail address: {error}") from error
    if "." not in address.ascii_domain:
        raise EmailError("not an e-mail address: the part after the @-sign should have a period")
    return address
