"""Flags made from a configuration class, and how a driver ends when its user made a mistake."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from slimzoo import quiet_start  # noqa: F401 (imports TensorFlow, so it comes first)

# isort: split
import tensorflow as tf
from absl import app, flags, logging

from slimzoo.memory import keep_freed_memory

C = TypeVar("C")


def run(config_class: type[C], command: Callable[[C], Any]) -> None:
    """Defines the flags of `config_class`, parses the command line and calls `command`.

    What a user can cause (a value that is not accepted, a file that is not there) ends in its
    message and exit status 1; `--verbosity=1` shows where it was raised.
    """
    define_flags(config_class)

    def main(arguments: list[str]) -> int:
        if not flags.FLAGS["verbosity"].present:
            # What TFDS and AutoGraph have to say is not meant for who trains a network.
            logging.set_verbosity(logging.ERROR)
            tf.get_logger().setLevel("ERROR")
        keep_freed_memory()
        try:
            if arguments[1:]:
                raise ValueError(
                    f"Unexpected arguments: {' '.join(arguments[1:])}. Flags are --name=value."
                )
            command(read_flags(config_class))
        except (ValueError, OSError, ImportError, tf.errors.OpError) as error:
            logging.debug("Raised here:", exc_info=True)
            print(f"\nERROR: {error_text(error)}", file=sys.stderr)
            _exit_at_once(1)
        except KeyboardInterrupt as error:
            print(f"\n{str(error) or 'Interrupted.'}", file=sys.stderr)
            _exit_at_once(130)
        return 0

    try:
        app.run(main)
    except SystemExit as end:
        # absl counts a question for help among the mistakes.
        asked = {"--help", "-help", "-?", "-h", "--helpshort", "--helpfull"} & set(sys.argv[1:])
        sys.exit(0 if asked else end.code)


def _exit_at_once(status: int) -> NoReturn:
    """Ends the program without freeing what a run that was broken off holds.

    A tf.data iterator can take a minute for it: its autotuner may be asleep. What had to be saved
    is saved.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def define_flags(config_class: type[Any], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines an absl flag for each field of a configuration class."""
    types_of_fields = typing.get_type_hints(config_class)
    main_module = sys.argv[0]
    for field in dataclasses.fields(config_class):
        choices = field.metadata["choices"]
        accepted = f"<{'|'.join(choices)}>: " if choices else ""
        arguments = (field.name, _default(field), accepted + field.metadata["help"])
        annotation = types_of_fields[field.name]
        flags.DEFINE_flag(
            flags.BooleanFlag(*arguments)
            if annotation is bool
            else flags.Flag(*_parser(annotation, choices), *arguments),
            flag_values,
            # absl's --help lists the flags of the program that was started.
            module_name=main_module,
        )


def read_flags(config_class: type[C], flag_values: flags.FlagValues = flags.FLAGS) -> C:
    """Builds the configuration from parsed flags; raises ValueError as its constructor does."""
    names = [field.name for field in dataclasses.fields(config_class)]  # type: ignore[arg-type]
    return config_class(**{name: flag_values[name].value for name in names})


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


def error_text(error: Exception) -> str:
    """What to tell a user of `error`: TensorFlow's messages without graph and node names."""
    if isinstance(error, tf.errors.OpError):
        message = re.sub(r"\{\{function_node [^}]*\}\} ", "", error.message or "")
        message = message.split("\n\t [[")[0] or type(error).__name__
        if "allocate memory" in message or "OOM" in message:
            message += " Give a smaller --batch_size."
        return message
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error) or type(error).__name__


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _parser(annotation: Any, choices: tuple[str, ...] | None) -> tuple[Any, Any]:
    if choices:
        return flags.EnumParser(choices), flags.ArgumentSerializer()
    arguments = set(typing.get_args(annotation)) - {types.NoneType}
    if typing.get_origin(annotation) is list:
        return flags.ListParser(), flags.CsvListSerializer(",")
    kind = arguments.pop() if arguments else annotation
    parsers = {int: flags.IntegerParser, float: flags.FloatParser, str: flags.ArgumentParser}
    return parsers[kind](), flags.ArgumentSerializer()


def beside_this_program(driver: str) -> str:
    """The command that starts `driver` in the way in which the running program was started."""
    script = os.path.join(os.path.dirname(sys.argv[0]), f"{driver}.py")
    return f"python {script}" if os.path.exists(script) else driver
