"""Downloading: a data set arrives whole or not at all, from servers and archives of any kind."""

from __future__ import annotations

import errno
import hashlib
import io
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from imgtrans_cyclegan import transfer, unpacking
from imgtrans_cyclegan.download import DownloadError, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTS = {"trainA": 2, "trainB": 1}
MEMBERS = {"trainA/1.jpg": b"1" * 9000, "trainA/2.JPG": b"2", "trainB/1.png": b"3"}


def zipped(members: dict[str, bytes], top: str = "seasons/") -> bytes:
    """A zip archive in memory, its members uncompressed below a top folder."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in members.items():
            archive.writestr(top + name, content)
    return memory.getvalue()


class Site(ThreadingHTTPServer):
    """A server of one file, with the faults that its attributes name."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = zipped(MEMBERS)
        self.etag = '"1"'
        self.modified: str | None = None
        self.status = 200
        self.ranges = True
        self.sends_length = True
        self.breaks_after: list[int] = []  # bytes; one for each of the first requests
        self.pause = 0.0  # seconds between bytes
        self.asked: list[str | None] = []  # the Range of every request

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.server_address[1]}/seasons.zip"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site, wanted = self.server, self.headers["Range"]
        site.asked.append(wanted)
        current = self.headers["If-Range"] in (site.etag, site.modified)
        whole = not (site.ranges and wanted and current)
        start = 0 if whole else int(wanted.removeprefix("bytes=").removesuffix("-"))
        gone = start >= len(site.content) and not whole
        body = b"" if gone else site.content[start:]
        self.send_response(416 if gone else site.status if whole else 206)
        self.send_header("ETag", site.etag)
        if site.modified:
            self.send_header("Last-Modified", site.modified)
        if not whole:
            last = len(site.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        if site.sends_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: site.breaks_after.pop(0)] if site.breaks_after else body
        for at in range(0, len(body), 1 if site.pause else len(body)):
            self.wfile.write(body[at : at + 1] if site.pause else body)
            time.sleep(site.pause)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "data" / "seasons"


def files(folder: Path) -> set[str]:
    """Every file below a folder, but locks, which are empty and outlive a failed download."""
    found = (p for p in folder.rglob("*") if not p.is_dir() and p.suffix != ".lock")
    return {p.relative_to(folder).as_posix() for p in found}


def interrupted(site: Site, home: Path, at: int) -> bytes:
    """Download some bytes, then press Ctrl-C; returns what is kept."""

    def press(received: int, _: int | None) -> None:
        if received >= at:
            raise KeyboardInterrupt

    site.breaks_after = [at]
    with pytest.raises(KeyboardInterrupt):
        fetch([site.url], home, progress=press)
    site.breaks_after, site.asked = [], []
    return (home.parent / "seasons.zip.part").read_bytes()


def test_an_archive_becomes_the_folder_and_nothing_else_remains(site: Site, home: Path) -> None:
    assert fetch([site.url], home, folder_counts=COUNTS) == home
    assert files(home.parent) == {f"seasons/{name}" for name in MEMBERS}
    assert (home / "trainA/1.jpg").read_bytes() == MEMBERS["trainA/1.jpg"]


def test_an_archive_without_a_top_folder_is_unpacked_as_it_is(site: Site, home: Path) -> None:
    site.content = zipped(MEMBERS, top="")
    assert files(fetch([site.url], home)) == set(MEMBERS)


def test_a_lone_folder_that_is_wanted_is_not_stepped_into(site: Site, home: Path) -> None:
    site.content = zipped({"trainA/deep/1.jpg": b""}, top="")
    assert files(fetch([site.url], home, folder_counts={"trainA": 1})) == {"trainA/deep/1.jpg"}


def test_macos_side_files_are_left_out_and_do_not_hide_the_top_folder(
    site: Site, home: Path
) -> None:
    side = {"__MACOSX/seasons/._1.jpg": b"", ".DS_Store": b"", "seasons/.DS_Store": b""}
    site.content = zipped({f"seasons/{n}": c for n, c in MEMBERS.items()} | side, top="")
    assert files(fetch([site.url], home, folder_counts=COUNTS)) == set(MEMBERS)


def test_progress_tells_the_bytes_and_the_whole(site: Site, home: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch([site.url], home, progress=lambda *args: told.append(args))
    assert told[-1] == (len(site.content), len(site.content))


def test_the_next_address_is_tried_when_one_does_not_answer(site: Site, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    assert fetch([refusing, site.url], home).is_dir()


def test_the_next_address_is_tried_when_one_delivers_no_zip(site: Site, home: Path) -> None:
    with Site() as other:
        other.content = b"<html>please log in</html>"
        threading.Thread(target=other.serve_forever, daemon=True).start()
        assert fetch([other.url, site.url], home, folder_counts=COUNTS).is_dir()
        other.shutdown()


def test_failure_names_every_address_its_reason_and_the_destination(site: Site, home: Path) -> None:
    site.status, site.content = 404, b""
    with pytest.raises(DownloadError) as caught:
        fetch([site.url, "ftp://127.0.0.1/x.zip"], home, folder_counts=COUNTS)
    told = str(caught.value)
    assert f"{site.url}: it answers 404" in told
    assert "ftp://127.0.0.1/x.zip: only http" in told
    assert str(home.absolute()) in told
    assert "trainA/ with 2 images" in told


def test_an_interrupted_download_goes_on_where_it_stopped(site: Site, home: Path) -> None:
    kept = interrupted(site, home, 1000)
    assert kept == site.content[:1000]
    assert files(home.parent) == {"seasons.zip.part", "seasons.zip.part.json"}
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == ["bytes=1000-"]


@pytest.mark.parametrize("modified", [None, "Tue, 24 Nov 2026 03:53:00 GMT"])
def test_a_weak_etag_does_not_do_but_a_date_does(
    site: Site, home: Path, modified: str | None
) -> None:
    site.etag, site.modified = 'W/"1"', modified
    interrupted(site, home, 1000)
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == (["bytes=1000-"] if modified else [None])


def test_a_whole_download_is_not_fetched_again(site: Site, home: Path) -> None:
    interrupted(site, home, len(site.content))
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == []


def test_a_changed_file_is_downloaded_from_its_beginning(site: Site, home: Path) -> None:
    interrupted(site, home, 1000)
    site.content, site.etag = zipped({"trainA/new.jpg": b"new"}), '"2"'
    assert files(fetch([site.url], home)) == {"trainA/new.jpg"}


def test_a_server_that_ignores_ranges_starts_again(site: Site, home: Path) -> None:
    interrupted(site, home, 1000)
    site.ranges = False
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == ["bytes=1000-"]


def test_a_file_that_became_shorter_than_its_part_starts_again(site: Site, home: Path) -> None:
    interrupted(site, home, 5000)
    site.content = zipped({"trainA/new.jpg": b"new"})
    assert files(fetch([site.url], home)) == {"trainA/new.jpg"}
    assert site.asked == ["bytes=5000-", None]


def test_a_part_from_one_address_is_not_continued_from_another(site: Site, home: Path) -> None:
    interrupted(site, home, 1000)
    fetch([site.url + "?mirror"], home, folder_counts=COUNTS)
    assert site.asked == [None]


def test_a_broken_note_beside_the_part_starts_again(site: Site, home: Path) -> None:
    interrupted(site, home, 1000)
    (home.parent / "seasons.zip.part.json").write_text("{")
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == [None]


def test_a_connection_that_breaks_is_taken_up_again_by_itself(site: Site, home: Path) -> None:
    site.breaks_after = [1000, 2000]
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == [None, "bytes=1000-", "bytes=3000-"]


def test_a_connection_that_always_breaks_is_given_up(site: Site, home: Path) -> None:
    site.breaks_after = [10] * 100
    with pytest.raises(DownloadError, match=r"ended after 40 of \d+ bytes"):
        fetch([site.url], home)
    assert (home.parent / "seasons.zip.part").read_bytes() == site.content[:40]


def test_a_download_of_unknown_length_that_breaks_is_no_zip(site: Site, home: Path) -> None:
    site.sends_length, site.breaks_after = False, [1000] * 100
    with pytest.raises(DownloadError, match="no whole zip archive"):
        fetch([site.url], home)


def test_a_server_that_falls_silent_is_given_up(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_TIMEOUT", 0.1)
    site.pause = 1.0
    with pytest.raises(DownloadError, match="timed out"):
        fetch([site.url], home)


def test_a_server_that_trickles_is_given_up(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_WINDOW", 0.3)
    site.pause = 0.01
    with pytest.raises(DownloadError, match="too slow"):
        fetch([site.url], home)


def test_the_hash_is_checked_and_both_are_told(site: Site, home: Path) -> None:
    with pytest.raises(DownloadError, match=hashlib.sha256(site.content).hexdigest()):
        fetch([site.url], home, sha256="0" * 64)
    assert not files(home.parent)
    assert fetch([site.url], home, sha256=hashlib.sha256(site.content).hexdigest().upper())


def test_a_wrong_count_is_an_error_with_both_numbers(site: Site, home: Path) -> None:
    with pytest.raises(DownloadError, match="trainA holds 2 images, but 1231 are expected"):
        fetch([site.url], home, folder_counts={"trainA": 1231})
    assert not files(home.parent)


def test_an_existing_folder_is_never_touched(site: Site, home: Path) -> None:
    home.mkdir(parents=True)
    with pytest.raises(DownloadError, match="exists"):
        fetch([site.url], home)
    assert not site.asked


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "a/../../evil.jpg", "/evil.jpg", "C:/evil.jpg", "..\\evil.jpg", "."]
)
def test_an_archive_cannot_write_outside_its_folder(site: Site, home: Path, name: str) -> None:
    site.content = zipped({"trainA/1.jpg": b"", name: b"evil"}, top="")
    with pytest.raises(DownloadError, match="outside of its folder"):
        fetch([site.url], home)
    assert not files(home.parent.parent)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(site: Site, home: Path, kind: int) -> None:
    memory, member = io.BytesIO(), zipfile.ZipInfo("trainA")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr(member, "/etc")
    site.content = memory.getvalue()
    with pytest.raises(DownloadError, match="link or a device"):
        fetch([site.url], home)


def bomb(size: int, claimed: int) -> bytes:
    """An archive of one member whose headers claim another size than it has."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trainA/1.bmp", bytes(size))
    real, other = size.to_bytes(4, "little"), claimed.to_bytes(4, "little")
    return memory.getvalue().replace(real, other)


def test_a_member_that_swells_beyond_reason_is_refused(site: Site, home: Path) -> None:
    site.content = bomb(40 << 20, 40 << 20)
    with pytest.raises(DownloadError, match="far more than it should"):
        fetch([site.url], home)


def test_all_members_together_are_bounded(site: Site, home: Path) -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(10):
            archive.writestr(f"{n}.jpg", bytes(1000))
    site.content = memory.getvalue()
    with pytest.raises(DownloadError, match="far more than it should"):
        fetch([site.url], home, limit_bytes=9_999)


def test_many_members_that_each_swell_a_little_too_much_are_bounded(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgtrans_cyclegan.unpacking._LEAST_TOTAL", 1 << 20)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(12):
            archive.writestr(f"{n}.bmp", bytes(1 << 20))
    site.content = memory.getvalue()
    with pytest.raises(DownloadError, match="far more than it should"):
        fetch([site.url], home)


def test_a_claimed_size_is_not_believed(site: Site, home: Path) -> None:
    site.content = bomb(3_000_000, 10)
    with pytest.raises(DownloadError):
        fetch([site.url], home)
    assert not files(home.parent)


def test_members_are_counted(site: Site, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_MOST_MEMBERS", 2)
    with pytest.raises(DownloadError, match="3 members; at most 2"):
        fetch([site.url], home)


def test_a_download_larger_than_allowed_is_not_begun(site: Site, home: Path) -> None:
    with pytest.raises(DownloadError, match="are more than the 100 allowed"):
        fetch([site.url], home, limit_bytes=100)


def test_a_download_of_unknown_length_is_stopped_at_the_limit(site: Site, home: Path) -> None:
    site.sends_length = False
    with pytest.raises(DownloadError, match="more than the 100 bytes allowed"):
        fetch([site.url], home, limit_bytes=100)


def test_a_damaged_member_is_an_error_and_the_next_try_starts_afresh(
    site: Site, home: Path
) -> None:
    good = site.content
    site.content = good.replace(b"1" * 9000, b"1" * 8999 + b"x")
    with pytest.raises(DownloadError, match="damaged"):
        fetch([site.url], home)
    site.content = good
    assert fetch([site.url], home, folder_counts=COUNTS).is_dir()


def test_a_member_said_to_lie_before_the_file_is_damage(site: Site, home: Path) -> None:
    directory = site.content.index(b"PK\x01\x02")
    start = directory + 42  # where the first member's offset stands
    site.content = site.content[:start] + b"\xff" * 3 + b"\xf0" + site.content[start + 4 :]
    with pytest.raises(DownloadError, match="damaged"):
        fetch([site.url], home)


@pytest.mark.parametrize("twin", ["a/1.jpg", "a/1.jpg/x"])
def test_members_in_each_others_place_are_an_error(site: Site, home: Path, twin: str) -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("a/1.jpg", b"")
        archive.writestr("b" * len(twin), b"")
    # zipfile itself warns of twins, so one is renamed afterwards.
    site.content = memory.getvalue().replace(b"b" * len(twin), twin.encode())
    with pytest.raises(DownloadError, match=r"more than one member|both a file and a folder"):
        fetch([site.url], home)


def test_a_full_disk_is_an_error_that_keeps_the_download(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "_write", full)
        with pytest.raises(DownloadError, match=r"No space left on device[\s\S]*make room"):
            fetch([site.url], home)
    assert files(home.parent) == {"seasons.zip.part", "seasons.zip.part.json"}
    fetch([site.url], home, folder_counts=COUNTS)
    assert site.asked == [None]


def test_what_a_killed_process_unpacked_is_cleared_away(site: Site, home: Path) -> None:
    (home.parent / ".seasons.unpacking" / "trainA").mkdir(parents=True)
    (home.parent / ".seasons.unpacking" / "trainA" / "left.jpg").touch()
    fetch([site.url], home, folder_counts=COUNTS)
    assert files(home.parent) == {f"seasons/{name}" for name in MEMBERS}


def test_interrupting_the_unpacking_leaves_only_the_download(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(unpacking, "_write", press)
    with pytest.raises(KeyboardInterrupt):
        fetch([site.url], home)
    assert files(home.parent) == {"seasons.zip.part", "seasons.zip.part.json"}
    assert not (home.parent / ".seasons.unpacking").exists()


def test_a_folder_that_cannot_be_made_is_an_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DownloadError, match="could not be written"):
        fetch([site.url], tmp_path / "data" / "seasons")


def test_downloading_imports_no_torch() -> None:
    code = "import sys, imgtrans_cyclegan.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_two_processes_one_downloads_and_the_other_waits_and_finds_it(site, home):
    site.pause = 0.0001
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch([site.url], home))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [home, home]
    assert files(home) == set(MEMBERS)
    assert len(site.asked) == 1
