"""Processes on this machine that a chapter or a command starts.

What each server has, and where it is:

- It listens on 127.0.0.1 alone, on a socket that `server.listen` gives it.
- It answers under the names of this machine only, so that no page of another site reaches it under its own
  name: `server.is_ours(host)`, or `asgi.guarded(app)` for an ASGI application.
- It gives no other page leave to read (no `Access-Control-Allow-Origin`), and refuses to change anything for
  one, also for the page of another program on this machine: `asgi.guarded`.
- What is not for everybody on this machine wants a password or a key. A header may hold any byte: compare
  bytes, with `secrets.compare_digest`. The secret is in no argument, no output and no log, and in no file
  that others can read.
- A number in a request is looked up, or matched before it is converted: `int` raises for "²", which is a
  digit, and for five thousand digits.
- What it cannot read gets a 4xx, and no traceback in the answer or the terminal. A fault of our own is a 500,
  and its traceback goes to the log.
- It ends with the process that started it, by `kill -9` as well: `server.Server` with `server.end_with`, or
  `group` around a program that does not watch for itself. What it leaves in a temporary folder goes with it.
- Its test starts it and calls `strangers.are_refused`, of `tests/medallion/strangers.py`.
"""
