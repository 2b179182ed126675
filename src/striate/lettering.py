"""Text made fit for people: class names, paths and titles in drawings, amounts of memory."""

import math
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


def amount(memory: int) -> str:
    """Write an amount of memory, rounded up, so that it can be given back.

    Example:
        >>> amount(1_234_567_890), amount(12_345_678), amount(900)
        ('1.24GB', '12.4MB', '900B')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if memory >= size:
            digits = max(2 - int(math.log10(memory / size)), 0)
            scale = 10**digits
            return f"{math.ceil(memory * scale / size) / scale:g}{unit}"
    return f"{memory}B"
