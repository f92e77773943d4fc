"""How a command runs: flags in, an exit status out, a message where its user made a mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import tensorflow as tf
from absl import app, flags, logging

from preprocessing.decoding import plain_message
from slimzoo.flags import define_flags, read_flags

C = TypeVar("C")


def run(config_class: type[C], command: Callable[[C], Any]) -> None:
    """Defines the flags of `config_class`, parses the command line and calls `command`.

    What a user can cause (a value that is not accepted, a file that is not there) ends in its
    message and exit status 1; `--verbosity=1` shows where it was raised.
    """
    define_flags(config_class)

    def main(arguments: list[str]) -> int:
        if flags.FLAGS["verbosity"].present:
            tf.get_logger().setLevel("INFO")
        else:
            logging.set_verbosity(logging.ERROR)
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
    except BrokenPipeError:  # --help | head
        os._exit(0)
    except SystemExit as end:
        # absl counts a question for help among the mistakes.
        asked = {"--help", "-help", "-?", "-h", "--helpshort", "--helpfull"} & set(sys.argv[1:])
        sys.exit(0 if asked else end.code)


def error_text(error: Exception) -> str:
    """What to tell a user of `error`."""
    if isinstance(error, tf.errors.OpError):
        message = plain_message(error)
        if "allocate memory" in message or "OOM" in message:
            message += " Give a smaller --batch_size."
        return message
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error) or type(error).__name__


def beside_this_program(driver: str) -> str:
    """The command that starts `driver` in the way in which the running program was started."""
    script = os.path.join(os.path.dirname(sys.argv[0]), f"{driver}.py")
    return f"python {script}" if os.path.exists(script) else driver


def _exit_at_once(status: int) -> NoReturn:
    """Ends the program without freeing what a run that was broken off holds.

    A tf.data iterator can take a minute for it: its autotuner may be asleep. What had to be saved
    is saved.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
