"""Fetch jars from Maven with the Ivy that the pyspark wheel brings.

No host is named here: an Ivy resolver of the Maven kind that is given no root means Maven Central.
`MEDALLION_MAVEN` (an address, or a folder in Maven's layout) takes its place, and then it alone is
asked. The Maven cache of this user (`~/.m2`) is left out on purpose: a half-filled one makes Ivy fail.
"""

import importlib.util
import os
import re
import struct
import subprocess
import urllib.parse
from collections.abc import Callable, Mapping
from hashlib import sha1
from pathlib import Path
from ssl import create_default_context
from xml.sax.saxutils import quoteattr

from medallion import paths
from medallion.errors import MedallionError
from medallion.machine import java

MENDS = (
    "Check the network; behind a company mirror, set MEDALLION_MAVEN to its address; without a network, "
    "copy the jars from a machine that has them and run `./medallion setup --from-dir FOLDER`."
)
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PASSWORD = "changeit"  # Java's customary password; a trust store holds nothing secret


class NotServed(MedallionError):
    """The repository was asked and does not have the jar, or could not be asked at all."""


def file_name(coordinates: str) -> str:
    """Return "artifact-version.jar" for "group:artifact:version"."""
    _, artifact, version = coordinates.split(":")
    return f"{artifact}-{version}.jar"


def fetch(coordinates: list[str], work: Path, tell: Callable[[str], None]) -> list[Path]:
    """Fetch the jars, without what they depend on, into `work`; return their paths in the same order.

    `tell` is called with a short line each time Ivy gets further.
    Raises NotServed when one of them is not to be had.
    """
    if not coordinates:
        return []
    work.mkdir(parents=True, exist_ok=True)
    (work / "settings.xml").write_text(_settings(work), encoding="utf-8")
    (work / "ivy.xml").write_text(_module(coordinates), encoding="utf-8")
    code, said = _run(work, [], tell)
    if code != 0 and "PKIX path" in said:
        # Java brings its own list of certificate authorities; a company's proxy is known to the system only.
        store = work / "authorities.jks"
        store.write_bytes(_java_trust_store(_system_authorities()))
        trust = [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]
        code, said = _run(work, trust, tell)
    jars = [work / "jars" / file_name(one) for one in coordinates]
    missing = [one for one, jar in zip(coordinates, jars, strict=True) if not jar.is_file()]
    if code != 0 or missing:
        log = paths.writable(paths.cache(), "MEDALLION_CACHE") / "ivy.log"
        log.write_text(said, encoding="utf-8")
        first, *others = missing or coordinates
        which = f"{first} and {len(others)} more" if others else first
        raise NotServed(f"{which} could not be fetched: {_reason(said)} (more in {log}). {MENDS}")
    return jars


def _run(work: Path, options: list[str], tell: Callable[[str], None]) -> tuple[int, str]:
    """Run Ivy in `work`; return its exit status and all it said."""
    command = [
        str(java.find().home / "bin" / "java"),
        *_proxy_options(os.environ),
        *options,
        "-jar",
        str(_ivy_jar()),
        *("-settings", str(work / "settings.xml")),
        *("-ivy", str(work / "ivy.xml")),
        *("-types", "jar"),
        *("-retrieve", str(work / "jars" / "[artifact]-[revision].[ext]")),
    ]
    said = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        # In the plain C locale Java cannot open a folder such as "Kurs für Anfänger".
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"^downloading .*/(\S+\.jar) ", line):
                    tell(f"Fetching {found.group(1)}")
        except BaseException:
            process.kill()
            raise
    return process.returncode, "".join(said)


def _ivy_jar() -> Path:
    spec = importlib.util.find_spec("pyspark")
    found = sorted((Path(spec.origin).parent / "jars").glob("ivy-*.jar")) if spec and spec.origin else []
    if not found:
        raise MedallionError("The installed pyspark brings no Ivy. Remove .venv and run `./medallion`.")
    return found[-1]


def _settings(work: Path) -> str:
    mirror = os.environ.get("MEDALLION_MAVEN")
    root = ""
    if mirror:
        local = Path(mirror).expanduser()
        root = f" root={quoteattr(local.absolute().as_uri() if local.is_dir() else mirror)}"
    return (
        '<ivysettings>\n  <settings defaultResolver="maven"/>\n'
        f"  <caches defaultCacheDir={quoteattr(str(work / 'cache'))}/>\n"
        f'  <resolvers><ibiblio name="maven" m2compatible="true"{root}/></resolvers>\n</ivysettings>\n'
    )


def _module(coordinates: list[str]) -> str:
    dependencies = ""
    for one in coordinates:
        group, artifact, version = (quoteattr(part) for part in one.split(":"))
        dependencies += f'    <dependency org={group} name={artifact} rev={version} transitive="false"/>\n'
    return (
        '<ivy-module version="2.0">\n  <info organisation="medallion" module="jars"/>\n'
        '  <configurations><conf name="jars"/></configurations>\n'
        '  <dependencies defaultconf="jars->master(default)">\n'
        f"{dependencies}  </dependencies>\n</ivy-module>\n"
    )


def _reason(said: str) -> str:
    """Return, in one line, why Ivy failed."""
    if trouble := re.search(r"\((?:java\S*\.)?(\w+Exception: [^\n]*?)\)?$", said, flags=re.MULTILINE):
        return trouble.group(1)
    if unknown := re.search(r"Host (\S+) not found", said):
        return f"{unknown.group(1)} cannot be reached"
    return "the repository does not have it" if "module not found" in said else "Ivy stopped"


def _proxy_options(environ: Mapping[str, str]) -> list[str]:
    """Return the JVM's spelling of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, which Java does not read."""
    options = []
    for scheme in ("http", "https"):
        proxy = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY")
        address = urllib.parse.urlsplit(proxy if proxy and "//" in proxy else f"//{proxy or ''}")
        if address.hostname:
            options.append(f"-D{scheme}.proxyHost={address.hostname}")
            options.append(f"-D{scheme}.proxyPort={address.port or 80}")
    direct = environ.get("no_proxy") or environ.get("NO_PROXY")
    if options and direct:
        hosts = [f"*{host}" if host.startswith(".") else host for host in re.split(r"[,\s]+", direct) if host]
        options.append(f"-Dhttp.nonProxyHosts={'|'.join(hosts)}")
    return options


def _system_authorities() -> list[bytes]:
    """Return the certificate authorities that this system trusts, each as DER."""
    context = create_default_context()
    files = [os.environ.get("PIP_CERT"), os.environ.get("REQUESTS_CA_BUNDLE"), SYSTEM_AUTHORITIES]
    for file in files:
        if file and Path(file).is_file():
            context.load_verify_locations(file)
    return context.get_ca_certs(binary_form=True)


def _java_trust_store(authorities: list[bytes]) -> bytes:
    """Return a trust store in Java's own format (JKS, version 2) that holds `authorities` (DER)."""

    def counted(text: str) -> bytes:
        return struct.pack(">H", len(text)) + text.encode("ascii")

    store = struct.pack(">III", 0xFEEDFEED, 2, len(authorities))
    for number, der in enumerate(authorities):
        trusted_certificate, made_at = 2, 0
        store += struct.pack(">I", trusted_certificate) + counted(f"authority-{number}")
        store += struct.pack(">Q", made_at) + counted("X.509") + struct.pack(">I", len(der)) + der
    # The closing digest is over the password, a phrase that the format prescribes, and the content.
    return store + sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + store).digest()
