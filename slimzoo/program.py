"""How a command runs: flags in, an exit status out, a message where its user made a mistake."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tensorflow as tf
from absl import app, flags, logging

from preprocessing.decoding import plain_message
from slimzoo import interruption
from slimzoo.flags import define_flags, read_flags
from slimzoo.help_text import define_help_flags
from slimzoo.tf_slim_flags import answer_tf_slim_flags, define_tf_slim_flags

C = TypeVar("C")
_OF_A_COMMAND = re.compile("^(train|eval|export)_")


def run(config_class: type[C], command: Callable[[C], Any]) -> None:
    """Defines the flags of `config_class`, parses the command line and calls `command`.

    What a user can cause (a value that is not accepted, a file that is not there) ends in its
    message and exit status 1; `--verbosity=1` shows where it was raised.
    """
    define_flags(config_class)
    define_help_flags(config_class)
    of_tf_slim = getattr(config_class, "tf_slim_flags", ())
    define_tf_slim_flags(of_tf_slim)
    for stream in (sys.stdout, sys.stderr):
        # A class can be called what the terminal's encoding has no letters for. A file that became
        # a pipe (descriptors can be exchanged) refuses, and is written as before.
        with contextlib.suppress(OSError, AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def main(arguments: list[str]) -> int:
        if flags.FLAGS["verbosity"].present:
            tf.get_logger().setLevel("INFO")
        else:
            logging.set_verbosity(logging.ERROR)
        interruption.spare_libraries()
        try:
            if said := answer_tf_slim_flags(of_tf_slim):
                print(said, flush=True)
            config = read_flags(config_class, arguments=arguments[1:])
            command(config)
        except KeyboardInterrupt as error:
            interruption.leave(error)
        except Exception as error:
            # A library can turn what a signal raised into an error of its own.
            if interrupted := interruption.raised_interruption():
                interruption.leave(interrupted)
            if not isinstance(error, ValueError | OSError | ImportError | tf.errors.OpError):
                raise
            logging.debug("Raised here:", exc_info=True)
            interruption.exit_at_once(f"ERROR: {error_text(error)}", 1)
        interruption.ignore_signals()  # what is left is Python's own leave
        if getattr(config, "distribution_strategy", None) == "multi_worker_mirrored":
            # TensorFlow would report that the others end too, or wait for them.
            interruption.exit_at_once("", 0)
        return 0

    try:
        app.run(main, flags_parser=_parsed)
    except BrokenPipeError:  # --help | head
        os._exit(0)
    except KeyboardInterrupt as error:
        interruption.leave(error)
    except SystemExit as end:
        # absl counts a question for help among the mistakes.
        asked = {"--helpfull", "-helpfull", "--helpxml", "-helpxml"} & set(sys.argv[1:])
        sys.exit(0 if asked else end.code)


def _parsed(arguments: list[str]) -> list[str]:
    """Parses the command line, as `app.run` does it, with messages that name the commands' help."""
    try:
        return list(flags.FLAGS(arguments))
    except flags.UnrecognizedFlagError as error:
        print(f"ERROR: {unknown_flag(error, list(flags.FLAGS))}", file=sys.stderr)
        sys.exit(1)
    except flags.Error as error:
        why = in_plain_words(str(error).removesuffix("."))
        print(f"ERROR: {why}. --help lists the flags.", file=sys.stderr)
        sys.exit(1)


def in_plain_words(message: str) -> str:
    """A message of absl, without Python's own words for what is no number."""
    message = re.sub(
        r"invalid literal for int\(\) with base \d+: .*", "takes a whole number", message
    )
    return re.sub(r"could not convert string to float: .*", "takes a number", message)


def unknown_flag(error: flags.UnrecognizedFlagError, known: Sequence[str]) -> str:
    """Says that a flag does not exist, and which may be meant.

    Args:
      error: of absl, which suggests what is spelled like it.
      known: the command's flags. One that another command calls otherwise comes first:
        `--train_image_size` is `--eval_image_size` in evaluation.
    """
    name = error.flagname
    meaning = _OF_A_COMMAND.sub("", name)
    meant = [other for other in known if _OF_A_COMMAND.sub("", other) == meaning]
    if not meant and (spelled := re.search(r"Did you mean: (.*) \?$", str(error))):
        meant = spelled[1].split(", ")
    hint = f" Did you mean {' or '.join(f'--{other}' for other in meant)}?" if meant else ""
    return f"Unknown command line flag '{name}'.{hint} --help lists the flags."


def error_text(error: Exception) -> str:
    """What to tell a user of `error`."""
    if isinstance(error, tf.errors.OpError):
        message = plain_message(error)
        if "allocate memory" in message or "OOM" in message:
            message += " Give a smaller --batch_size."
        return message
    if isinstance(error, OSError) and error.filename and error.strerror:
        advice = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = " Free some space, and give the same command again."
        return f"{error.filename}: {error.strerror}.{advice}"
    return str(error) or type(error).__name__


def beside_this_program(driver: str) -> str:
    """The command that starts `driver` in the way in which the running program was started."""
    script = os.path.join(os.path.dirname(sys.argv[0]), f"{driver}.py")
    return f"python {script}" if os.path.exists(script) else driver
