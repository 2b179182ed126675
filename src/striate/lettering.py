"""Text of any origin made fit for drawings and pages: class names, paths, titles."""

import re

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    """Put � for the characters that XML and UTF-8 cannot hold, such as half a surrogate.

    File names that are not UTF-8 reach Python with such halves in them. Escaping ``<`` and
    ``&`` is left to the caller.

    Example:
        >>> legal("caf\\udce9.png")
        'caf�.png'
    """
    return _NOT_XML.sub("�", text)


def shorten(text: str, most: int) -> str:
    """Cut a text to at most ``most`` characters, the last of them … where something is left out.

    Example:
        >>> shorten("ship of the line", 8), shorten("ship", 8)
        ('ship of…', 'ship')
    """
    return text if len(text) <= most else text[: most - 1] + "…"
