"""Fetching a jar: from real servers on loopback, plain and with TLS, straight and through a proxy."""

import datetime
import functools
import http.server
import ipaddress
import select
import socket
import ssl
import threading
import urllib.parse
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from medallion.errors import MedallionError
from medallion.machine import maven

JAR = "org.example:graphs:0.9"
PLACE = "org/example/graphs/0.9/graphs-0.9.jar"
CONTENT = bytes(range(256)) * 10_000
FOREIGN = "maven.example"  # not this machine, so that a proxy is asked


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, or, as a proxy does, what it is asked for by its whole address."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        self.leads_to: str | None = None  # the server that everything is redirected to
        self.refusal = 0  # the status that everything is answered with
        self.cut_short = False
        self.stall_at: str | None = None  # what is sent by half, and no further
        self.stalled = threading.Event()
        self.upstream: int | None = None  # the port that a proxy's tunnels lead to
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.logins.append(self.headers["Authorization"])
        if self.server.leads_to:
            self.send_response(302)
            self.send_header("Location", self.server.leads_to + self.path)
            self.end_headers()
            return
        file = self.server.folder / urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        if self.server.refusal or not file.is_file():
            self.send_error(self.server.refusal or 404)
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        stall = self.server.stall_at is not None and self.server.stall_at in self.path
        if stall or self.server.cut_short:
            content = content[: len(content) // 2]
        self.wfile.write(content)
        if stall:
            self.server.stalled.set()
            self.rfile.read(1)  # until the other side is gone

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        if self.server.refusal:
            self.send_error(self.server.refusal)
            return
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {upstream: self.connection, self.connection: upstream}
            while ready := select.select([*ends], [], [], 10)[0]:
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(name="serve")
def serving(monkeypatch):
    """A function that serves a folder on loopback, with TLS where it is given a certificate and key."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    started = []

    def start(folder: Path, certificate: Path | None = None) -> Server:
        server = Server(folder)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02)).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def repository(tmp_path) -> Path:
    """A folder in Maven's layout with the jar, in a place with a space and an accent."""
    folder = tmp_path / "Büch 1"
    (folder / PLACE).parent.mkdir(parents=True)
    (folder / PLACE).write_bytes(CONTENT)
    return folder


@pytest.fixture
def company(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A certificate authority that nobody knows, and the certificate with key of a server, as PEM files."""
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name, key, issuer, signer, *extensions):
        def named(text):
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)  # as loosely built as many are
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [x509.DNSName(FOREIGN), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    (tmp_path / "authority.pem").write_bytes(
        certificate("ours", authority, "ours", authority, x509.BasicConstraints(ca=True, path_length=None))
    )
    (tmp_path / "server.pem").write_bytes(
        certificate("server", server, "ours", authority, x509.SubjectAlternativeName(names))
        + server.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tmp_path / "authority.pem", tmp_path / "server.pem"


@pytest.fixture
def resolved(monkeypatch):
    """A function that says what the name of the foreign host leads to: this machine, or nothing."""
    real = socket.getaddrinfo

    def resolve(leads_here: bool) -> None:
        def lookup(host, *rest, **options):
            if host == FOREIGN and not leads_here:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return real("127.0.0.1" if host == FOREIGN else host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", lookup)

    return resolve


def refused() -> str:
    with pytest.raises(MedallionError) as error:
        maven.fetch(JAR)
    assert str(error.value).startswith(f"{JAR} could not be fetched: ")
    return str(error.value)


def test_a_jar_comes_from_the_place_that_its_coordinates_say_and_how_far_it_is_is_told(
    serve, repository, monkeypatch
):
    mirror = serve(repository.parent)
    address = f"{mirror.address}/{urllib.parse.quote(repository.name)}"
    for spelled in (address, address + "/"):
        monkeypatch.setenv("MEDALLION_MAVEN", spelled)
        told = []
        assert maven.fetch(JAR, told.append) == CONTENT
        assert told[-1] == "Fetching graphs-0.9.jar: 2.6 of 2.6 MB" and len(told) == 3
    assert set(mirror.asked) == {f"/{urllib.parse.quote(repository.name)}/{PLACE}"}


def test_the_mirror_may_be_a_folder_or_its_address(repository, monkeypatch):
    for spelled in (str(repository), repository.as_uri()):
        monkeypatch.setenv("MEDALLION_MAVEN", spelled)
        assert maven.fetch(JAR) == CONTENT
        with pytest.raises(maven.NotServed, match=r"no:jar:1 could not be fetched: the repository does not"):
            maven.fetch("no:jar:1")


def test_a_mirror_that_is_neither_is_named(monkeypatch):
    monkeypatch.setenv("MEDALLION_MAVEN", "/no/such/folder")
    with pytest.raises(MedallionError, match="MEDALLION_MAVEN is /no/such/folder, neither a folder nor"):
        maven.fetch(JAR)


def test_a_mirror_s_password_is_for_the_mirror_alone(serve, repository, monkeypatch):
    mirror, other = serve(repository), serve(repository)
    mirror.leads_to = other.address
    monkeypatch.setenv("MEDALLION_MAVEN", mirror.address.replace("//", "//ada:s3cr%40t@"))
    assert maven.fetch(JAR) == CONTENT
    assert (mirror.logins, other.logins) == (["Basic YWRhOnMzY3JAdA=="], [None])
    other.refusal = 401
    assert "the repository answers 401 Unauthorized" in refused()


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("MEDALLION_MAVEN", "ada:s3cret@maven.example/maven2"),
        ("MEDALLION_MAVEN", "ftp://ada:s3cret@maven.example/maven2"),
        ("MEDALLION_MAVEN", "http://ada:s3c/ret@maven.example/maven2"),
        ("MEDALLION_MAVEN", "http://ada:s3c#ret@maven.example/maven2"),
        ("MEDALLION_MAVEN", "http://ada:s3c[ret@maven.example/maven2"),
        ("MEDALLION_MAVEN", "https://ada:s3cret@maven.example/maven2"),
        ("HTTP_PROXY", "http:/ada:s3cret@proxy.example:9"),
        ("HTTP_PROXY", "http://ada:s3cret@proxy.example:nine"),
        ("HTTP_PROXY", "http://ada:s3cret@proxy.example:9"),
    ],
)
def test_a_password_is_in_no_error(variable, address, serve, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("MEDALLION_MAVEN", f"http://{FOREIGN}")
    monkeypatch.setenv(variable, address)
    with pytest.raises(MedallionError) as error:
        maven.fetch(JAR)
    assert not [part for part in ("s3c", "ret@", "ada") if part in str(error.value)]


def test_without_a_mirror_central_is_asked(serve, repository, monkeypatch):
    proxy = serve(repository)
    proxy.refusal = 403
    monkeypatch.delenv("MEDALLION_MAVEN", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)
    assert "the proxy answers 403 Forbidden. Correct HTTPS_PROXY" in refused()
    assert proxy.asked == [f"{urllib.parse.urlsplit(maven.central()).hostname}:443"]


def test_what_is_not_served_and_what_is_refused_are_told_apart(serve, repository, monkeypatch):
    mirror = serve(repository)
    monkeypatch.setenv("MEDALLION_MAVEN", mirror.address)
    with pytest.raises(maven.NotServed, match=r"the repository does not have it\. .*MEDALLION_MAVEN"):
        maven.fetch("no:jar:1")
    mirror.refusal = 503
    with pytest.raises(maven.NotServed, match="the repository answers 503 Service Unavailable"):
        maven.fetch(JAR)


def test_a_connection_that_breaks_off_or_falls_silent_is_told(serve, repository, monkeypatch):
    mirror = serve(repository)
    monkeypatch.setenv("MEDALLION_MAVEN", mirror.address)
    mirror.cut_short = True
    assert "the connection broke off after 1,280,000 of 2,560,000 bytes" in refused()
    mirror.stall_at = "graphs"
    monkeypatch.setattr(maven, "SILENCE", 0.2)
    assert "no answer within 0.2 s. Check the network" in refused()


def test_without_a_network_the_way_out_is_named(serve, resolved, monkeypatch):
    resolved(False)
    monkeypatch.setenv("MEDALLION_MAVEN", f"https://{FOREIGN}/maven2")
    assert f"{FOREIGN} cannot be reached (Name or service not known). Check the network;" in refused()
    assert "./medallion setup --from-dir FOLDER" in refused()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_a_plain_mirror_is_asked_through_the_proxy(variable, serve, repository, resolved, monkeypatch):
    resolved(False)
    proxy = serve(repository)
    monkeypatch.setenv("MEDALLION_MAVEN", f"http://{FOREIGN}")
    monkeypatch.setenv(variable, proxy.address)
    assert maven.fetch(JAR) == CONTENT
    assert proxy.asked == [f"http://{FOREIGN}/{PLACE}"]
    proxy.refusal = 407
    assert "the proxy answers 407 Proxy Authentication Required. Correct HTTPS_PROXY" in refused()


def test_a_mirror_with_tls_is_asked_through_the_proxy(serve, repository, company, resolved, monkeypatch):
    resolved(False)
    authority, server = company
    proxy = serve(repository)
    proxy.upstream = serve(repository, server).server_port
    monkeypatch.setenv("MEDALLION_MAVEN", f"https://{FOREIGN}")
    monkeypatch.setenv("HTTPS_PROXY", proxy.address.removeprefix("http://"))
    monkeypatch.setenv("PIP_CERT", str(authority))
    assert maven.fetch(JAR) == CONTENT
    assert proxy.asked == [f"{FOREIGN}:443"]
    proxy.refusal = 407
    assert "the proxy answers 407 Proxy Authentication Required. Correct HTTPS_PROXY" in refused()


def test_what_needs_no_proxy_is_asked_directly(serve, repository, resolved, monkeypatch):
    resolved(True)
    mirror, proxy = serve(repository), serve(repository)
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    monkeypatch.setenv("NO_PROXY", "localhost,.example")
    monkeypatch.setenv("MEDALLION_MAVEN", f"http://{FOREIGN}:{mirror.server_port}")
    assert maven.fetch(JAR) == CONTENT
    monkeypatch.delenv("NO_PROXY")  # our own machine is never asked through a proxy
    for host in ("127.0.0.1", "localhost"):
        monkeypatch.setenv("MEDALLION_MAVEN", f"http://{host}:{mirror.server_port}")
        assert maven.fetch(JAR) == CONTENT
    assert len(mirror.asked) == 3 and not proxy.asked


def test_a_proxy_that_is_not_there_is_named(serve, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    monkeypatch.setenv("MEDALLION_MAVEN", f"https://{FOREIGN}")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    assert f"{FOREIGN} cannot be reached through the proxy in HTTPS_PROXY (Connection refused)" in refused()


@pytest.mark.parametrize("variable", ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_company_s_certificate_is_trusted_once_it_is_named(
    variable, serve, repository, company, monkeypatch
):
    authority, server = company
    mirror = serve(repository, server)
    monkeypatch.setenv("MEDALLION_MAVEN", mirror.address.replace("http", "https"))
    assert "the certificate is not trusted (" in refused()
    assert "Set PIP_CERT to the file with the certificate of your company" in refused()
    monkeypatch.setenv(variable, str(authority))
    assert maven.fetch(JAR) == CONTENT


def test_the_authorities_of_the_system_are_trusted(serve, repository, company, monkeypatch):
    authority, server = company
    monkeypatch.setattr(maven, "SYSTEM_AUTHORITIES", (str(authority),))
    monkeypatch.setenv("MEDALLION_MAVEN", serve(repository, server).address.replace("http", "https"))
    assert maven.fetch(JAR) == CONTENT


def test_a_file_without_a_certificate_is_named(tmp_path, monkeypatch):
    (tmp_path / "empty.pem").write_text("nothing\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "empty.pem"))
    with pytest.raises(MedallionError, match=r"empty\.pem holds no certificate that can be read\. Set PIP"):
        maven.fetch(JAR)
