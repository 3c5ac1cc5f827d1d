"""The jars: bad ones are named, good ones come from a folder and from a mirror; all of it offline."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock
from test_setup_maven import serving  # noqa: F401 - the fixture `serve`

from medallion.errors import MedallionError
from medallion.machine import jars, maven

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
    """A lock of one jar that is cut from its stand-in; return the folder with that."""
    stick = tmp_path / "stick"
    source = make_jar(stick / "shaded-1.8.jar", SHADED)
    piece = jars.cut(source.read_bytes(), KEEP)
    entry = {
        "coordinates": "org.example:graphs:0.9",
        "sha256": hashlib.sha256(piece).hexdigest(),
        "bytes": len(piece),
        "keep": list(KEEP),
        "stand_in": "org.example:shaded:1.8",
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
        shutil.copyfile(file, place / maven.file_name(coordinates))
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
    piece = jars.cut(one.read_bytes(), KEEP)
    assert piece == jars.cut(other.read_bytes(), KEEP)
    known = "7205cb92a06acba6221d94ecd4fc86670814b05f1398231d169caa9bb578be93"
    assert hashlib.sha256(piece).hexdigest() == known
    with zipfile.ZipFile(io.BytesIO(piece)) as members:
        assert members.namelist() == ["org/graphframes/A.class", "org/graphframes/Z.class"]


def test_the_stand_in_comes_from_a_folder(cache, small_lock):
    jars.install(from_dir=small_lock, progress=False)
    assert [path.name for path in jars.verified()] == ["graphs-0.9.jar"]


def test_a_stand_in_with_other_members_is_refused(cache, small_lock):
    make_jar(small_lock / "shaded-1.8.jar", SHADED | {"org/graphframes/A.class": "b"})
    with pytest.raises(
        MedallionError,
        match=r"graphs-0\.9\.jar is missing, and in its place shaded-1\.8\.jar is damaged: its SHA-256",
    ):
        jars.install(from_dir=small_lock, progress=False)
    assert not list((cache / "jars").iterdir())


def test_the_stand_in_is_fetched_when_the_jar_is_not_served(cache, small_lock, tmp_path, monkeypatch):
    mirror = maven_folder(tmp_path / "mirror", {"org.example:shaded:1.8": small_lock / "shaded-1.8.jar"})
    monkeypatch.setenv("MEDALLION_MAVEN", str(mirror))
    jars.install(progress=False)
    assert [path.name for path in jars.verified()] == ["graphs-0.9.jar"]


def test_the_jar_itself_is_taken_when_it_is_served(cache, small_lock, tmp_path, monkeypatch):
    original = make_jar(tmp_path / "graphs.jar", SHADED | {"org/sedona/Other.class": "never here"})
    monkeypatch.setenv(
        "MEDALLION_MAVEN", str(maven_folder(tmp_path / "mirror", {"org.example:graphs:0.9": original}))
    )
    jars.install(progress=False)
    assert [path.name for path in jars.verified()] == ["graphs-0.9.jar"]


def test_all_real_jars_come_from_a_mirror_and_an_altered_one_is_refused(
    cache, real_jars, tmp_path, monkeypatch, serve
):
    by_coordinates = {jar.coordinates: path for jar, path in zip(jars.locked(), real_jars, strict=True)}
    mirror = maven_folder(tmp_path / "mirror", by_coordinates)
    monkeypatch.setenv("MEDALLION_MAVEN", serve(mirror).address)
    altered = mirror / "io/delta/delta-storage/4.4.0/delta-storage-4.4.0.jar"
    good = altered.read_bytes()
    altered.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(MedallionError, match=r"delta-storage:4\.4\.0, as it was downloaded, is damaged"):
        jars.install(progress=False)
    assert len(list((cache / "jars").iterdir())) == len(real_jars) - 1
    assert not (cache / "jars" / "delta-storage-4.4.0.jar").exists()
    altered.write_bytes(good)
    jars.install(progress=False)
    assert len(jars.verified()) == len(real_jars)


def test_a_mirror_that_has_nothing_says_so_with_what_to_do(cache, small_lock, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("MEDALLION_MAVEN", str(tmp_path / "empty"))
    with pytest.raises(MedallionError) as refused:
        jars.install(progress=False)
    for coordinates in ("org.example:graphs:0.9", "org.example:shaded:1.8"):
        assert f"{coordinates} could not be fetched: the repository does not have it" in str(refused.value)
    assert "MEDALLION_MAVEN" in str(refused.value) and "--from-dir" in str(refused.value)


def test_what_is_no_jar_is_refused(cache, small_lock):
    (small_lock / "graphs-0.9.jar").write_bytes(b"an error page")
    (small_lock / "shaded-1.8.jar").write_bytes((small_lock / "shaded-1.8.jar").read_bytes()[:-9])
    with pytest.raises(MedallionError, match=r"graphs-0\.9\.jar is damaged: it has 13 bytes.*shaded"):
        jars.install(from_dir=small_lock, progress=False)
    assert not list((cache / "jars").iterdir())


def test_set_up_killed_while_it_fetches_leaves_whole_jars_and_goes_on(
    cache, real_jars, tmp_path, monkeypatch, serve
):
    entries = zip(jars.locked(), real_jars, strict=True)
    mirror = serve(maven_folder(tmp_path / "mirror", {jar.coordinates: path for jar, path in entries}))
    monkeypatch.setenv("MEDALLION_MAVEN", mirror.address)
    mirror.stall_at = "delta-kernel-api"  # the third: half of it is sent
    command = [sys.executable, "-c", "from medallion.machine import jars; jars.install()"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        assert mirror.stalled.wait(timeout=60)
        child.kill()
    assert [path.name for path in sorted((cache / "jars").iterdir())] == [
        "delta-spark_4.2_2.13-4.4.0.jar",
        "delta-storage-4.4.0.jar",
    ]
    (cache / "jars" / ".delta-kernel-api-4.4.0.jar.1.new").write_bytes(b"half")  # killed while it writes
    mirror.stall_at = None
    mirror.asked.clear()
    jars.install(progress=False)
    assert len(jars.verified()) == len(real_jars) == len(list((cache / "jars").iterdir()))
    assert not any("delta-storage" in asked for asked in mirror.asked), "it was there already"


def test_a_set_up_that_waits_for_another_says_so(cache, small_lock, capfd):
    cache.mkdir(parents=True)
    waiting = threading.Thread(target=jars.install, kwargs={"from_dir": small_lock})
    said = ""
    with FileLock(cache / "jars.filelock"):
        waiting.start()
        until = time.monotonic() + 10
        while not said and time.monotonic() < until:
            time.sleep(0.05)
            said += capfd.readouterr().err
    waiting.join()
    assert said == f"Another set-up is at work on {cache}; waiting for it\n"
    assert len(jars.verified()) == 1


def test_progress_is_told_on_standard_error(cache, small_lock, tmp_path, monkeypatch, capfd):
    mirror = maven_folder(tmp_path / "mirror", {"org.example:shaded:1.8": small_lock / "shaded-1.8.jar"})
    monkeypatch.setenv("MEDALLION_MAVEN", str(mirror))
    jars.install()
    assert f"1 jar in {cache / 'jars'}" in capfd.readouterr().err
