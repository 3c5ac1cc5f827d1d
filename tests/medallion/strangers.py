"""What every server of the course has to bear, for the tests of each: requests of strangers."""

import http.client

HOSTS = ("evil.example", "127.0.0.1.evil.example:80", "127.0.0.1@evil.example", "10.0.0.1", "ü", "[::", "")
ORIGINS = ("http://evil.example", "http://localhost:1", "https://127.0.0.1", "null", "ü")


def are_refused(port: int, path: str, login: str = "") -> None:
    """Check that the server on `port` gives `path` to us alone, and that no stranger's header fells it.

    `login` is the header with which we ask, for a server that wants one.
    """
    ours = {"Authorization": login} if login else {}
    for name in ("127.0.0.1", "localhost"):
        assert _ask(port, path, ours | {"Host": f"{name}:{port}"})[0] == 200, name
    for host in HOSTS:
        assert _ask(port, path, ours | {"Host": host})[0] in (400, 403, 421), host
    for origin in ORIGINS:
        status, permissions = _ask(port, path, ours | {"Origin": origin})
        assert status in (200, 403) and not permissions, origin
    assert _ask(port, path, {"Authorization": "Bearer ü"})[0] == (401 if login else 200)


def _ask(port: int, path: str, headers: dict[str, str]) -> tuple[int, list[str]]:
    """Return the status of the answer, and those of its headers that give other pages leave to read it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={name: text.encode() for name, text in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status, [name for name, _ in answer.getheaders() if name.lower().startswith("access-")]
    finally:
        connection.close()
