"""The jars: bad ones are named, good ones come from a folder and through the real Ivy; all of it offline."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from medallion.errors import MedallionError
from medallion.machine import ivy, jars

KEEP = ("org/graphframes/",)


@pytest.fixture(scope="module")
def real_jars() -> list[Path]:
    """The jars that set-up installed on this machine."""
    return jars.verified()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "Kurs für Anfänger" / "cache"
    monkeypatch.setenv("MEDALLION_CACHE", str(folder))
    return folder


@pytest.fixture
def full_cache(real_jars, cache) -> Path:
    shutil.copytree(real_jars[0].parent, cache / "jars")
    return cache


def make_jar(
    path: Path, members: dict[str, str], year: int = 2024, packing: int = zipfile.ZIP_DEFLATED
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", packing) as jar:
        for name, text in members.items():
            jar.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), text, packing)
    return path


SHADED = {
    "META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n",
    "org/graphframes/Z.class": "z",
    "org/graphframes/A.class": "a",
    "org/sedona/Other.class": "other",
}


@pytest.fixture
def small_lock(tmp_path, monkeypatch) -> Path:
    """A lock of one jar that is cut from a second source; return the folder with that source."""
    stick = tmp_path / "stick"
    source = make_jar(stick / "shaded-1.8.jar", SHADED)
    piece = tmp_path / "piece.jar"
    jars.cut(source, piece, KEEP)
    entry = {
        "coordinates": "org.example:graphs:0.9",
        "sha256": jars.sha256_of(piece),
        "bytes": piece.stat().st_size,
        "keep": list(KEEP),
        "sources": [
            {"coordinates": "org.example:graphs:0.9"},
            {"coordinates": "org.example:shaded:1.8", "sha256": jars.sha256_of(source)},
        ],
    }
    lock = tmp_path / "jars.lock"
    lock.write_text(json.dumps({"jars": [entry]}), encoding="utf-8")
    monkeypatch.setattr(jars, "lock_file", lambda: lock)
    return stick


def maven_folder(folder: Path, files: dict[str, Path]) -> Path:
    """Lay out `files` (by their coordinates) as a Maven repository."""
    for coordinates, file in files.items():
        group, artifact, version = coordinates.split(":")
        place = folder / group.replace(".", "/") / artifact / version
        place.mkdir(parents=True)
        shutil.copyfile(file, place / ivy.file_name(coordinates))
    return folder


def test_verified_gives_the_jars_in_lock_order(full_cache):
    found = jars.verified()
    assert [path.name for path in found] == [jar.file for jar in jars.locked()]
    assert all(path.parent == full_cache / "jars" for path in found)


def test_one_flipped_bit_is_noticed(full_cache):
    damaged = full_cache / "jars" / "delta-storage-4.4.0.jar"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(MedallionError, match=r"delta-storage-4\.4\.0\.jar is damaged.*medallion setup"):
        jars.verified()


def test_a_truncated_and_a_missing_jar_are_named(full_cache):
    damaged = full_cache / "jars" / "delta-storage-4.4.0.jar"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(MedallionError, match=r"it has 113,862 bytes, jars\.lock says 113,863"):
        jars.verified()
    damaged.unlink()
    with pytest.raises(MedallionError, match=r"delta-storage-4\.4\.0\.jar is missing.*medallion setup"):
        jars.verified()


def test_install_from_a_folder_replaces_what_is_damaged_and_leaves_the_rest(full_cache, real_jars):
    damaged = full_cache / "jars" / "delta-storage-4.4.0.jar"
    untouched = full_cache / "jars" / "delta-kernel-api-4.4.0.jar"
    before = untouched.stat().st_mtime_ns
    damaged.write_bytes(b"half a jar")
    jars.install(from_dir=real_jars[0].parent, progress=False)
    assert len(jars.verified()) == len(real_jars)
    assert untouched.stat().st_mtime_ns == before


def test_install_from_a_folder_names_each_bad_file_and_keeps_the_good_ones(cache, real_jars, tmp_path):
    stick = tmp_path / "stick"
    shutil.copytree(real_jars[0].parent, stick)
    (stick / "delta-storage-4.4.0.jar").unlink()
    (stick / "unitycatalog-client-0.6.0.jar").write_bytes(b"not a jar")
    with pytest.raises(MedallionError) as refused:
        jars.install(from_dir=stick, progress=False)
    message = str(refused.value)
    assert "delta-storage-4.4.0.jar is missing" in message
    assert "unitycatalog-client-0.6.0.jar is damaged: it has 9 bytes" in message
    assert "delta-kernel-api" not in message
    installed = {path.name for path in (cache / "jars").iterdir()}
    assert installed == {jar.name for jar in real_jars} - {
        "delta-storage-4.4.0.jar",
        "unitycatalog-client-0.6.0.jar",
    }


def test_install_from_a_folder_that_is_not_there(cache, tmp_path):
    with pytest.raises(MedallionError, match="is not a folder"):
        jars.install(from_dir=tmp_path / "nowhere", progress=False)


def test_a_cut_depends_on_the_kept_members_alone(tmp_path):
    reordered = dict(reversed(SHADED.items())) | {"org/sedona/Other.class": "changed"}
    one = make_jar(tmp_path / "one.jar", SHADED)
    other = make_jar(tmp_path / "other.jar", reordered, year=1999, packing=zipfile.ZIP_STORED)
    jars.cut(one, tmp_path / "a.jar", KEEP)
    jars.cut(other, tmp_path / "b.jar", KEEP)
    assert (tmp_path / "a.jar").read_bytes() == (tmp_path / "b.jar").read_bytes()
    assert (
        jars.sha256_of(tmp_path / "a.jar")
        == "7205cb92a06acba6221d94ecd4fc86670814b05f1398231d169caa9bb578be93"
    )
    with zipfile.ZipFile(tmp_path / "a.jar") as piece:
        assert piece.namelist() == ["org/graphframes/A.class", "org/graphframes/Z.class"]


def test_the_second_source_stands_in_from_a_folder(cache, small_lock):
    jars.install(from_dir=small_lock, progress=False)
    assert [path.name for path in jars.verified()] == ["graphs-0.9.jar"]


def test_a_second_source_that_is_not_the_locked_one_is_refused(cache, small_lock):
    make_jar(small_lock / "shaded-1.8.jar", SHADED | {"org/graphframes/A.class": "altered"})
    with pytest.raises(MedallionError, match=r"graphs-0\.9\.jar \(or shaded-1\.8\.jar\) is missing"):
        jars.install(from_dir=small_lock, progress=False)
    assert not list((cache / "jars").iterdir())


def test_ivy_takes_the_second_source_when_the_first_is_not_served(cache, small_lock, tmp_path, monkeypatch):
    mirror = maven_folder(tmp_path / "mirror", {"org.example:shaded:1.8": small_lock / "shaded-1.8.jar"})
    monkeypatch.setenv("MEDALLION_MAVEN", str(mirror))
    jars.install(progress=False)
    assert [path.name for path in jars.verified()] == ["graphs-0.9.jar"]


def test_ivy_takes_the_first_source_when_its_members_are_the_locked_ones(
    cache, small_lock, tmp_path, monkeypatch
):
    original = make_jar(tmp_path / "graphs.jar", SHADED | {"org/sedona/Other.class": "never here"})
    monkeypatch.setenv(
        "MEDALLION_MAVEN", str(maven_folder(tmp_path / "mirror", {"org.example:graphs:0.9": original}))
    )
    jars.install(progress=False)
    assert [path.name for path in jars.verified()] == ["graphs-0.9.jar"]


def test_all_real_jars_come_from_a_mirror_and_an_altered_one_is_refused(
    cache, real_jars, tmp_path, monkeypatch
):
    by_coordinates = {jar.coordinates: path for jar, path in zip(jars.locked(), real_jars, strict=True)}
    mirror = maven_folder(tmp_path / "mirror", by_coordinates)
    monkeypatch.setenv("MEDALLION_MAVEN", str(mirror))
    altered = mirror / "io/delta/delta-storage/4.4.0/delta-storage-4.4.0.jar"
    good = altered.read_bytes()
    altered.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(MedallionError, match=r"delta-storage:4\.4\.0, as it was downloaded, is damaged"):
        jars.install(progress=False)
    assert not (cache / "jars" / "delta-storage-4.4.0.jar").exists()
    altered.write_bytes(good)
    jars.install(progress=False)
    assert len(jars.verified()) == len(real_jars)


def test_a_mirror_that_has_nothing_says_so_with_the_mends(cache, small_lock, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MEDALLION_MAVEN", str(tmp_path / "empty"))
    with pytest.raises(MedallionError) as refused:
        jars.install(progress=False)
    assert "neither org.example:graphs:0.9 nor org.example:shaded:1.8" in str(refused.value)
    assert "MEDALLION_MAVEN" in str(refused.value) and "--from-dir" in str(refused.value)


def test_proxies_are_handed_to_java():
    environ = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "localhost,.example.org"}
    assert ivy._proxy_options(environ) == [
        "-Dhttps.proxyHost=proxy.example",
        "-Dhttps.proxyPort=3128",
        "-Dhttp.nonProxyHosts=localhost|*.example.org",
    ]
    assert ivy._proxy_options({"NO_PROXY": "localhost"}) == []
