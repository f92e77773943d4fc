"""Messages in lines that a terminal of 80 columns shows whole, broken between words."""

from __future__ import annotations

import re
import textwrap

COLUMNS = 79
"""The cursor of a terminal stands in the last of its 80."""

# What is in quotes is pasted into a shell: --trainable_scopes='*weights,*biases', 'my photos/a b'.
_QUOTED = re.compile(r"(?<![^\s=(])'[^'\n]*'")
_KEPT_SPACE = "\0"


def in_narrow_lines(text: str) -> str:
    """Breaks long lines between words, never in a path, a flag or in quotes; indents what follows.

    Lines that begin with a space (commands to be copied) and those with several spaces in a row
    (tables) stay as they are.
    """
    return "\n".join(map(_narrow, text.split("\n")))


def _narrow(line: str) -> str:
    if len(line) <= COLUMNS or line.startswith(" ") or "  " in line:
        return line
    kept = _QUOTED.sub(lambda match: match[0].replace(" ", _KEPT_SPACE), line)
    filled = textwrap.fill(
        kept,
        COLUMNS,
        subsequent_indent="  ",
        expand_tabs=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_KEPT_SPACE, " ")
