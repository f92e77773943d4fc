"""What `--help` shows: the flags that most people need, then the others by what they are about."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import typing
from typing import Any

from absl import app, flags

from slimzoo.flags import Theme, default_of

# A terminal of 80 columns.
_COLUMNS = 79


class HelpFlag(flags.BooleanFlag):
    """Prints `help_text` and ends the process. absl's own flag sorts by the alphabet.

    Args:
      name: of the flag.
      config_class: of the command.
      short_name: another name.
    """

    def __init__(self, name: str, config_class: type[Any], short_name: str | None = None):
        super().__init__(name, False, "show this help", short_name, allow_override=True)
        self._config_class = config_class

    def parse(self, argument: Any) -> None:
        """Called with what the command line gives."""
        super().parse(argument)
        if self.value:
            about = sys.modules["__main__"].__doc__ or ""
            print(help_text(self._config_class, about))
            sys.exit(0)


def define_help_flags(config_class: type[Any], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags that show the help of a command; `--helpfull` and others stay absl's."""
    if flag_values is flags.FLAGS:
        app.define_help_flags()  # or it would define its own later, in place of these
    for name, short_name in (("help", "?"), ("helpshort", None), ("h", None)):
        flags.DEFINE_flag(HelpFlag(name, config_class, short_name), flag_values)


def help_text(config_class: type[Any], about: str) -> str:
    """Lists the flags of a command, in lines of 79 characters at most.

    Args:
      config_class: its fields are the flags; `first_flags` names those that come first.
      about: what the command does.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    first = list(config_class.first_flags)
    sections = {"Most used": first} | {
        theme.value: [
            name
            for name, field in fields.items()
            if field.metadata["theme"] is theme and name not in first
        ]
        for theme in Theme
    }
    annotations = typing.get_type_hints(config_class)
    lines = [*_filled(about.strip(), 0), ""]
    for heading, names in sections.items():
        if names:
            lines.append(f"{heading}:")
            for name in names:
                lines += _filled(_entry(fields[name], annotations[name]), 2)
            lines.append("")
    known = "Flags of TF-Slim are known too. " if config_class.tf_slim_flags else ""
    end = (
        "--flagfile=FILE reads flags from a file, one a line, as in recipes/. --verbosity=1 shows "
        f"where an error was raised. {known}--helpfull lists the flags of libraries too."
    )
    return "\n".join(lines + _filled(end, 0))


def _entry(field: dataclasses.Field[Any], annotation: Any) -> str:
    choices, default = field.metadata["choices"], default_of(field)
    is_switch = annotation is bool
    accepted = f" <{'|'.join(choices)}>" if choices else ""
    name = f"--{'[no]' * is_switch}{field.name}{accepted}"
    help_says_so = "separated by commas" in field.metadata["help"]
    notes = ["separated by commas"] if "list" in str(annotation) and not help_says_so else []
    if default not in (None, []):
        notes.append(f"default: {str(default).lower() if is_switch else default}")
    said = f" ({'; '.join(notes)})" if notes else ""
    return f"{name}: {field.metadata['help']}{said}"


def _filled(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=" " * indent,
        subsequent_indent=" " * 2 * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
