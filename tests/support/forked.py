"""Python processes that start in milliseconds: forks of a server that has imported torch and the package.

`python("-c", CODE, ...)` stands for `subprocess.Popen([sys.executable, "-c", CODE, ...])` with text pipes.
The server only imports and never computes, so that no thread holds a lock when it forks. Processes that have
to import the package and timm themselves, as those that look for plug-ins, take `bare=True`: their server has
imported torch and torchvision only.
"""

import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.support.paths import ROOT

AVAILABLE = sys.platform == "linux"  # elsewhere torch cannot be forked, or nothing can
MODULES = (
    *("fer_attention.cli.predict", "fer_attention.cli.faces", "fer_attention.cli.campaign"),
    *("fer_attention.cli.study", "fer_attention.study.engines", "fer_attention.pipeline.runs"),
    *("fer_attention.faces.folders", "fer_attention.training.campaign", "tests.support.tiny_runs"),
    *("accelerate", "kornia.augmentation", "matplotlib.pyplot"),  # which a training imports when it starts
)
BARE = ("torch", "torchvision", "torchvision.models.resnet")
VARIABLES = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def python(*arguments, start_new_session=False, bare=False, **variables):
    """Start Python with `-c CODE`, `-m MODULE` or a script, its arguments, and environment variables."""
    words, environment = [*map(str, arguments)], {**os.environ, **VARIABLES, **variables}
    if AVAILABLE:
        return Forked(words, environment, start_new_session, BARE if bare else MODULES)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, *words]
    return subprocess.Popen(command, env=environment, start_new_session=start_new_session, text=True, **pipes)


def run_python(*arguments, **options):
    """Run Python to its end; return its exit code, output and errors."""
    with python(*arguments, **options) as process:
        output, errors = process.communicate()
        return process.returncode, output, errors


class Forked:
    """A process of the server with the attributes and methods of `subprocess.Popen` that tests use."""

    returncode = None

    def __init__(self, words, environment, start_new_session, modules):
        request = [words, environment, os.getcwd(), start_new_session]
        (theirs_in, ours_in), *outputs = (os.pipe() for _ in range(4))
        ours, theirs = zip(*outputs, strict=True)
        content, (_, connection) = json.dumps(request).encode() + b"\n", start_server(modules)
        sent = socket.send_fds(connection, [content], [theirs_in, *theirs])
        connection.sendall(content[sent:])
        for descriptor in (theirs_in, *theirs):
            os.close(descriptor)
        self.stdin = os.fdopen(ours_in, "w")
        self.stdout, self.stderr, self._status = map(os.fdopen, ours)
        self.pid = int(self._status.readline())

    def poll(self):
        """Return the exit code, as negative number of a signal, or None."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self):
        """Wait for the end and return the exit code."""
        if self.returncode is None:
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self, text=""):
        """Send text, read all output and errors until the end, and return both."""
        with suppress(BrokenPipeError):  # of a process that has ended
            self.stdin.write(text)
            self.stdin.close()
        with ThreadPoolExecutor(2) as pool:
            output, errors = pool.map(lambda pipe: pipe.read(), (self.stdout, self.stderr))
        self.wait()
        return output, errors

    def send_signal(self, number):
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pipe in (self.stdin, self.stdout, self.stderr):
            with suppress(BrokenPipeError):
                pipe.close()
        self.wait()
        self._status.close()


@functools.cache
def start_server(modules):
    """Start a server of this process, which ends with it; return the server and the socket to it."""
    ours, theirs = socket.socketpair()
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(theirs.fileno()), *modules],
        **dict.fromkeys(("stdin", "stdout"), subprocess.DEVNULL),
        env={**os.environ, **VARIABLES},
        cwd=ROOT,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return server, ours


def serve(connection):
    """Fork for each request; return what to run, in the forked process only."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that report exit codes
    while True:
        content, descriptors, *_ = socket.recv_fds(connection, 1 << 16, 4)
        if not content:  # the tests have ended
            os._exit(0)
        while not content.endswith(b"\n"):
            content += connection.recv(1 << 16)
        if not os.fork():
            connection.close()
            return start_one(json.loads(content), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def start_one(request, descriptors):
    """Fork the process of a request, and wait for it to report its end; return in the forked process only."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words, environment, folder, start_new_session = request
    status = descriptors[3]
    if process := os.fork():
        os.write(status, f"{process}\n".encode())
        for descriptor in descriptors[:3]:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        os.write(status, f"{code}\n".encode())
        os._exit(0)
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    os.closerange(3, max(descriptors) + 1)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    if start_new_session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[1:1] = [path for path in environment["PYTHONPATH"].split(os.pathsep) if path not in sys.path]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return words


def execute(words):
    """Do what Python does with its command line, in a fresh `__main__`."""
    kind, *sys.argv = words if words[0] in ("-c", "-m") else ["", *words]
    if kind == "-c":
        sys.path.insert(0, "")
        code, sys.argv[0] = sys.argv[0], "-c"
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), vars(main))  # noqa: S102
    elif kind == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    for module in sys.argv[2:]:
        with suppress(ImportError):  # of an optional library
            importlib.import_module(module)
    assert os.listdir("/proc/self/task") == [str(os.getpid())]
    execute(serve(socket.socket(fileno=int(sys.argv[1]))))
