"""Flags made from a dataclass: one field a flag, with its default, its help text and its choices.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config:
        batch_size: int = flag(128, "Images in a batch.")
        output_dir: str = required_flag("Where the output goes.")

`define_flags(Config)` makes the flags, and `read_flags(Config)` a `Config` of what was given.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from slimzoo_registry import unknown_name_message
from training.storage.json_files import is_like

C = TypeVar("C")
T = TypeVar("T")
_FLOAT32_MAX = 3.4e38


class Theme(enum.Enum):
    """What a flag is about: the headings of `--help`, in their order."""

    IMAGES = "Images and preprocessing"
    NETWORK = "Network and weights"
    LENGTH = "Length and batches"
    LEARNING_RATE = "Learning rate"
    OPTIMIZER = "Optimizer and regularization"
    OUTPUT = "Output"
    DEVICES = "Several devices or hosts"
    OTHER = "Other"


def flag(
    default: T,
    help_text: str,
    choices: Iterable[str] | None = None,
    *,
    old_name: str | None = None,
    theme: Theme = Theme.OTHER,
    takes_arguments: bool = False,
) -> T:
    """A field that becomes a flag.

    Args:
      default: of the flag; its type is the field's.
      help_text: says the unit and the default.
      choices: the values that are accepted, if not all are; `--help` lists them.
      old_name: another name under which the flag goes on working.
      theme: the heading under which `--help` lists it.
      takes_arguments: whether what the command line has besides flags is added to it, which must
        then be a list; one field of a configuration at most. It takes names of files that are not
        UTF-8 too.
    """
    metadata = {
        "help": help_text,
        "choices": None if choices is None else tuple(choices),
        "old_name": old_name,
        "theme": theme,
        "required": False,
        "takes_arguments": takes_arguments,
    }
    if isinstance(default, list):
        kept: list[Any] = default
        return dataclasses.field(default_factory=lambda: list(kept), metadata=metadata)  # type: ignore[return-value]
    return dataclasses.field(default=default, metadata=metadata)


def required_flag(help_text: str, *, theme: Theme = Theme.OTHER) -> str:
    """A field without a default: the command refuses to start without its flag."""
    metadata = {
        "help": f"{help_text} Required.",
        "choices": None,
        "old_name": None,
        "theme": theme,
        "takes_arguments": False,
    }
    return dataclasses.field(metadata={**metadata, "required": True})


def define_flags(config_class: type[Any], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines an absl flag for each field of a configuration class."""
    types_of_fields = typing.get_type_hints(config_class)
    main_module = sys.argv[0]
    for field in dataclasses.fields(config_class):
        choices = field.metadata["choices"]
        accepted = f"<{'|'.join(choices)}>: " if choices else ""
        arguments = (field.name, default_of(field), accepted + field.metadata["help"])
        annotation = types_of_fields[field.name]
        flags.DEFINE_flag(
            flags.BooleanFlag(*arguments)
            if annotation in (bool, bool | None)
            else flags.Flag(*_parser(annotation, choices), *arguments),
            flag_values,
            # absl's --help lists the flags of the program that was started.
            module_name=main_module,
        )
    for old_name, name in current_names(config_class).items():
        flags.DEFINE_alias(old_name, name, flag_values, module_name=main_module)
    # Where arguments are taken, flags may come after them, as other programs have it.
    flag_values.set_gnu_getopt(_field_of_arguments(config_class) is not None)


def read_flags(
    config_class: type[C],
    flag_values: flags.FlagValues = flags.FLAGS,
    arguments: Sequence[str] = (),
) -> C:
    """Builds the configuration from parsed flags.

    Args:
      config_class: of the configuration.
      flag_values: that have been parsed.
      arguments: what the command line has besides flags.

    Raises:
      ValueError: if there are arguments and no field takes them, or as the constructor does.
    """
    fields = dataclasses.fields(config_class)  # type: ignore[arg-type]
    values: dict[str, Any] = {field.name: flag_values[field.name].value for field in fields}
    if arguments:
        name = _field_of_arguments(config_class)
        if name is None:
            raise ValueError(
                f"Unexpected arguments: {' '.join(arguments)}. Flags are --name=value."
            )
        values[name] = [*values[name], *arguments]
    return config_class(**values)


def flag_lines(config: Any) -> str:
    """The configuration as a flagfile: one `--name=value` a line, unset flags left out."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, bool):
            lines.append(f"--{'' if value else 'no'}{field.name}")
        elif isinstance(value, list):
            lines.append(f"--{field.name}={flags.CsvListSerializer(',').serialize(value)}")
        elif value is not None:
            lines.append(f"--{field.name}={value}")
    return "\n".join(lines) + "\n"


def current_names(config_class: type[Any]) -> dict[str, str]:
    """The name that each renamed flag has now, by the name that it had."""
    fields = dataclasses.fields(config_class)
    return {
        field.metadata["old_name"]: field.name for field in fields if field.metadata["old_name"]
    }


def settings(settings_class: type[C], config: Any) -> C:
    """Takes from a configuration the fields that a library's settings have, by their names.

    So a library never sees the configuration, and a new flag is a field here and a field there.
    """
    names = [field.name for field in dataclasses.fields(settings_class)]  # type: ignore[arg-type]
    return settings_class(**{name: getattr(config, name) for name in names})


def check_fields(config: Any) -> None:
    """Checks what the fields say of themselves: text, required, and one of several choices.

    Raises:
      ValueError: naming the flag.
    """
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        if not field.metadata["takes_arguments"]:
            for text in value if isinstance(value, list) else [value]:
                _check_is_text(field.name, text)
        if field.metadata["required"] and not value:
            raise ValueError(f"--{field.name} is not given. {field.metadata['help']}")
        if choices and value not in choices:
            raise ValueError(unknown_name_message(f"--{field.name}", value, choices))


def _check_is_text(name: str, value: Any) -> None:
    """Raises ValueError for bytes that are not UTF-8, which Python hides in its strings."""
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(value)
        raise ValueError(
            f"--{name} is {shown!r}, which is not UTF-8; names of files and folders must be. "
            "Rename what it names."
        ) from error


def check_positive(**values: float | None) -> None:
    """Raises ValueError if a value that is given is zero or less, naming its flag."""
    for name, value in values.items():
        if value is not None and not 0 < value < _FLOAT32_MAX:
            raise ValueError(f"--{name} is {value}; it must be a number greater than 0.")


def check_not_negative(**values: float | None) -> None:
    """Raises ValueError if a value that is given is negative, naming its flag."""
    for name, value in values.items():
        if value is not None and not 0 <= value < _FLOAT32_MAX:
            raise ValueError(f"--{name} is {value}; it must be a number, and not negative.")


def check_fraction(**values: float | None) -> None:
    """Raises ValueError if a value that is given is not in [0, 1), naming its flag."""
    for name, value in values.items():
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"--{name} is {value}; it must be at least 0 and less than 1.")


def parse_options(
    flag: str,
    options: list[str],
    defaults: Mapping[str, Any],
    current_name: Callable[[str], str] = lambda name: name,
) -> dict[str, Any]:
    """Turns `["a=1", "b=x"]` into `{"a": 1, "b": "x"}`.

    Args:
      flag: what error messages call it.
      options: what the flag was given.
      defaults: the options that exist and their defaults, whose types values must have.
      current_name: gives the name of an option that had another one in earlier versions.

    Raises:
      ValueError: if an entry has no `=`, is unknown or repeated, or is of another type than its
        default.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        name, equals, text = (part.strip() for part in option.partition("="))
        if not equals:
            raise ValueError(f"--{flag} has {option!r}; it takes name=value, separated by commas.")
        name = current_name(name)
        if name not in defaults:
            raise ValueError(unknown_name_message(f"option in --{flag}", name, defaults))
        if name in parsed:
            raise ValueError(f"--{flag} has {name} twice; it takes one value.")
        parsed[name] = _parse_value(text)
        if not is_like(parsed[name], defaults[name]):
            raise ValueError(
                f"--{flag} has {option!r}; {name} takes a value such as {defaults[name]!r}."
            )
    return parsed


def _field_of_arguments(config_class: type[Any]) -> str | None:
    """The name of the field that takes what is no flag; None if there is none."""
    names = [
        field.name
        for field in dataclasses.fields(config_class)
        if field.metadata["takes_arguments"]
    ]
    return names[0] if names else None


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a flag; None without one."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _parser(annotation: Any, choices: tuple[str, ...] | None) -> tuple[Any, Any]:
    if choices:
        return flags.EnumParser(choices), flags.ArgumentSerializer()
    arguments = set(typing.get_args(annotation)) - {types.NoneType}
    if list in (typing.get_origin(annotation), *map(typing.get_origin, arguments)):
        return flags.ListParser(), flags.CsvListSerializer(",")
    kind = arguments.pop() if arguments else annotation
    parsers = {int: flags.IntegerParser, float: flags.FloatParser, str: flags.ArgumentParser}
    return parsers[kind](), flags.ArgumentSerializer()


def _parse_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
