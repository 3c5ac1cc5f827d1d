"""One jar from a Maven repository, by plain HTTPS: its address follows from its coordinates.

The repository is Maven Central, at the address that Spark's own resolver has for it. `MEDALLION_MAVEN` (an
address, or a folder in Maven's layout) takes its place, and then it alone is asked. Proxies are those of
`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as Python reads them. A name and a password in these addresses are
for the other side alone: no error says them. Whether the right bytes arrived is for the caller to say, who
knows their SHA-256.
"""

import base64
import http.client
import importlib.util
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from medallion.errors import MedallionError

SILENCE = 60  # seconds without a byte after which the other side is given up
MB = 1_000_000
FIX = (
    "Check the network; behind a company mirror, set MEDALLION_MAVEN to its address; without a network, "
    "copy the jars from a machine that has them and run `./medallion setup --from-dir FOLDER`."
)
PROXY_FIX = (
    "Correct HTTPS_PROXY (a name and a password go before the host: NAME:PASSWORD@HOST:PORT), "
    "or name what needs no proxy in NO_PROXY."
)
TRUST_FIX = "Set PIP_CERT to the file with the certificate of your company's proxy or mirror."
# Where Debian, Fedora and macOS keep the authorities that the machine trusts: a Python that brings its own
# list does not look there.
SYSTEM_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class NotServed(MedallionError):
    """The repository was asked, and does not give the jar. `why` is the message without what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}. {FIX}")
        self.why = why


def file_name(coordinates: str) -> str:
    """Return "artifact-version.jar" for "group:artifact:version"."""
    _, artifact, version = coordinates.split(":")
    return f"{artifact}-{version}.jar"


def fetch(coordinates: str, tell: Callable[[str], object] = lambda line: None) -> bytes:
    """Return the content of the jar "group:artifact:version", unchecked.

    `tell` is called with a short line each time more of it has arrived.
    Raises NotServed when the repository does not give it, and MedallionError when it cannot be asked.
    """
    group, artifact, version = coordinates.split(":")
    name = file_name(coordinates)
    repository, login = _repository()
    address = "/".join([repository, *group.split("."), artifact, version, name])
    request = urllib.request.Request(address)
    if login:  # not for the host that a redirection may name
        coded = base64.b64encode(login.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {coded}")
    failed = f"{coordinates} could not be fetched:"
    content = bytearray()
    try:
        with _opener(address).open(request, timeout=SILENCE) as answer:
            length = answer.headers["Content-Length"] or ""
            size = int(length) if re.fullmatch("[0-9]{1,12}", length) else 0
            while piece := answer.read(MB):
                content += piece
                tell(f"Fetching {name}: {len(content) / MB:.1f} of {max(size, len(content)) / MB:.1f} MB")
        if len(content) < size:
            raise ConnectionError(f"the connection broke off after {len(content):,} of {size:,} bytes")
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise MedallionError(
                f"{failed} the proxy answers {error.code} {error.reason}. {PROXY_FIX}"
            ) from None
        absent = error.code == http.HTTPStatus.NOT_FOUND
        said = "does not have it" if absent else f"answers {error.code} {error.reason}"
        raise NotServed(f"{failed} the repository {said}") from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, FileNotFoundError):  # the repository is a folder
            raise NotServed(f"{failed} the repository does not have it") from None
        raise MedallionError(f"{failed} {_explained(cause, address)}") from error
    except ValueError:  # which says the whole address
        raise MedallionError(f"{failed} the address of the proxy cannot be read. {PROXY_FIX}") from None
    return bytes(content)


def central() -> str:
    """Return the address of Maven Central, a constant of the resolver that the pyspark wheel brings.

    So this project names no host, and asks the one that `spark.jars.packages` would.
    """
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None and spec.origin is not None  # it is in the lock
    (resolver,) = (Path(spec.origin).parent / "jars").glob("ivy-*.jar")
    with zipfile.ZipFile(resolver) as jar:
        constants = jar.read("org/apache/ivy/plugins/resolver/IBiblioResolver.class")
    found = re.search(rb"https://[\w.-]+/maven2", constants)
    assert found is not None  # as long as the lock has this pyspark: a test asks for it
    return found[0].decode()


def _repository() -> tuple[str, str]:
    """Return the address of the repository, and the name and password that it asks for: "" for none."""
    mirror = os.environ.get("MEDALLION_MAVEN") or central()
    local = Path(mirror).expanduser()
    if local.is_dir():
        return local.absolute().as_uri(), ""
    try:
        parts = urllib.parse.urlsplit(mirror)
        known = parts.scheme in ("https", "http", "file") and parts.port != 0
    except ValueError:  # what stands for a port is no number
        known = False
    if not known:
        _, at, rest = mirror.rpartition("@")
        shown = f"…@{rest}" if at else mirror
        raise MedallionError(
            f"MEDALLION_MAVEN is {shown}, neither a folder nor an address. Correct it or unset it."
        )
    login, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=host).geturl().rstrip("/"), urllib.parse.unquote(login)


def _opener(address: str) -> urllib.request.OpenerDirector:
    proxies = urllib.request.ProxyHandler(_proxies(address))
    opener = urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=_trust()))
    opener.addheaders = [("User-Agent", "medallion")]  # some mirrors refuse the name that Python gives itself
    return opener


def _proxies(address: str) -> dict[str, str]:
    """Return the proxies that `address` is asked through, by scheme."""
    parts = urllib.parse.urlsplit(address)
    host = parts.hostname or ""
    # No proxy stands between us and our own machine, whether or not NO_PROXY says so.
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    return {} if loopback or urllib.request.proxy_bypass(parts.netloc) else urllib.request.getproxies()


def _trust() -> ssl.SSLContext:
    """Return what decides whom to trust: Python's list (with SSL_CERT_FILE), the system's, a company's."""
    context = ssl.create_default_context()
    # Many a company's certificate is not built as strictly as Python 3.13 wants.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    for file in (os.environ.get("PIP_CERT"), os.environ.get("REQUESTS_CA_BUNDLE"), *SYSTEM_AUTHORITIES):
        if file and Path(file).is_file():
            try:
                context.load_verify_locations(file)
            except ssl.SSLError as error:
                raise MedallionError(f"{file} holds no certificate that can be read. {TRUST_FIX}") from error
    return context


def _explained(cause: object, address: str) -> str:
    """Return why nothing was fetched, and what to do about it."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({cause.verify_message}). {TRUST_FIX}"
    if "Tunnel connection failed" in str(cause):
        return f"the proxy answers {str(cause).partition(': ')[2]}. {PROXY_FIX}"
    if isinstance(cause, TimeoutError):
        return f"no answer within {SILENCE} s. {FIX}"
    parts = urllib.parse.urlsplit(address)
    through = (
        f" through the proxy in {parts.scheme.upper()}_PROXY" if parts.scheme in _proxies(address) else ""
    )
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else cause
    return f"{parts.hostname} cannot be reached{through} ({said}). {FIX}"
