"""Published checkpoints on a server of this machine, in place of their authors'."""

import contextlib
import dataclasses
import http.server
import io
import pathlib
import tarfile
import threading

import pytest
import tensorflow as tf

from training.zoo import cache
from training.zoo.table import PublishedCheckpoint, published_checkpoints


@dataclasses.dataclass
class Answer:
    """What the server says for a path.

    Attributes:
      content: that it sends.
      length: that it announces; None is that of the content.
      then: called when the content has been sent; it may return more to send.
    """

    content: bytes
    length: int | None = None
    then: object = None


class Server:
    """Serves `answers` by their paths, 404 for others, and keeps the paths asked for."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                answer = server.answers.get(self.path)
                if answer is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                length = len(answer.content) if answer.length is None else answer.length
                self.send_header("Content-Length", str(length))
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked has gone
                    self.wfile.write(answer.content)
                    self.wfile.flush()
                    self.wfile.write((answer.then and answer.then()) or b"")

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def zoo_folder(tmp_path, monkeypatch):
    """An empty cache of this test's own."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(cache, "_said", set())
    return tmp_path / "keras" / "slimzoo"


@pytest.fixture
def publish(server, zoo_folder):
    """`publish(name, content, **fields)`: a row of the table, whose file the server has."""
    with published_checkpoints.restored():

        def add(name, content, file_name="weights.tar.gz", length=None, then=None, **fields):
            path = f"/{name}/{file_name}"
            server.answers[path] = Answer(content, length, then)
            defaults = {"network": "cifarnet_18pct", "image_size": 32, "num_classes": 1001}
            row = PublishedCheckpoint(
                name=name, url=server.url(path), **(defaults | {"checkpoint": "net.ckpt"} | fields)
            )
            published_checkpoints._entries.pop(name, None)  # a row of the table gives way
            return published_checkpoints.register(name)(row)

        yield add


def write_tensorflow_1_checkpoint(path, values, version=2):
    """Writes values by their names as TF-Slim did, and returns the checkpoint's prefix."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(key, initializer=tf.constant(value))
            for key, value in values.items()
        ]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables, write_version=version)
        return saver.save(session, str(path))


def archive(files):
    """A tar.gz of contents by their names."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def archive_of(prefix):
    """A tar.gz of the files of a checkpoint."""
    prefix = pathlib.Path(prefix)
    return archive({path.name: path.read_bytes() for path in prefix.parent.glob(f"{prefix.name}*")})
