"""The command line: what turns flags into calls of the libraries.

`import slimzoo` changes nothing and imports nothing. A notebook that wants TensorFlow as the
commands have it calls `slimzoo.environment.set_up()` before it imports TensorFlow.
"""

__version__ = "0.1.0"
