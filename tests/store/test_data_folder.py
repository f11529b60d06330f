"""The server keeps its data in DATA_DIR, of any name, for its owner alone; an unusable one is reported."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shared.errors import SettingsInvalid
from shared.job import JobStatus
from shared.settings import StoreSettings, read_store
from shared.store.embedded import data_folder
from shared.store.embedded.server import EmbeddedServer, EmbeddedServerFailed
from shared.store.job_store import open_store
from tests.support.store import new_job, status_of

NAMES = (
    "a b", "it's", 'say "x"', "line\nbreak", "tab\tstop", "dätä 数据 🗞", "-dash", "--port 1", "100%", "a%20b", "q?x=1",
    "h#sh", "at@home:6379", "semi;colon", "back\\slash", "$HOMEless", "~backup", "[x]*", "#comment", "x" * 200,
)  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"\xff\xfe")], ids=ascii)
async def test_every_name_is_taken_as_it_stands(name: str, tmp_path: Path) -> None:
    """The services reach the server over the URL it gives, and the data is there after a restart."""
    folder = data_folder.named(str(tmp_path / name), {})
    with EmbeddedServer(folder) as server:
        settings = read_store({"REDIS_URL": server.url})
        async with open_store(settings, client_name="t") as store:
            job = new_job()
            await store.submit(job)
    assert (tmp_path / name / "appendonlydir").is_dir()
    with EmbeddedServer(folder) as server:
        async with open_store(StoreSettings(redis_url=server.url), client_name="t") as store:
            assert await status_of(store, job.id) is JobStatus.QUEUED


def test_home_is_what_a_shell_makes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the beginning alone, and whole: files that set variables are often read without a shell."""
    home = {"HOME": str(tmp_path)}
    for text in ("~/jobs", "$HOME/jobs", "${HOME}/jobs"):
        assert data_folder.named(text, home) == tmp_path.resolve() / "jobs"
    for text in ("~", "$HOME", "${HOME}"):
        assert data_folder.named(text, home) == tmp_path.resolve()
    monkeypatch.chdir(tmp_path)
    for text in ("a/~/b", "$HOMEless", "a$HOME", "-x", "$USER"):
        assert data_folder.named(text, home) == tmp_path.resolve() / text
    with pytest.raises(SettingsInvalid, match="HOME is not set"):
        data_folder.named("~/jobs", {})
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert data_folder.named("link", home) == tmp_path.resolve() / "elsewhere"
    with pytest.raises(SettingsInvalid, match="DATA_DIR cannot be used"):
        data_folder.prepare(data_folder.named("loop", home))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_keeps_its_mode_or_is_refused(tmp_path: Path) -> None:
    """A new one is its owner's alone. In one that others can read nothing of ours can be read; one that others can
    write to is refused, and stays as it is."""
    for mode in (0o755, 0o700, 0o750):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        with EmbeddedServer(folder) as server:
            assert _mode(server.socket_path) == 0o700
        assert _mode(folder) == mode
        written = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "valkey.log")]
        assert written
        assert all(_mode(path) & 0o077 == 0 for path in written)
    with EmbeddedServer(tmp_path / "new" / "deep"):
        assert _mode(tmp_path / "new" / "deep") == 0o700
    for mode in (0o777, 0o1777, 0o775):
        folder.chmod(mode)
        with pytest.raises(SettingsInvalid, match="others can write to"):
            EmbeddedServer(folder).start()
        assert _mode(folder) == mode


def test_a_deep_folder_may_be_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket has a folder of its own, new at each start; also where TMPDIR is deep itself."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    server = EmbeddedServer(deep / "data")
    for _ in range(2):
        server.start()
        assert len(os.fsencode(server.socket_path)) <= data_folder.SOCKET_PATH_MAX
        server.stop()
        assert not server.socket_path.parent.exists()


def test_data_of_a_newer_server_is_named(tmp_path: Path) -> None:
    """Not with the last lines of the server's log, which are no help."""
    folder = tmp_path / "data" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    (folder / "appendonly.aof.1.base.rdb").write_bytes(b"REDIS0999\xff" + bytes(8))
    with pytest.raises(EmbeddedServerFailed, match="holds the data of a newer server"):
        EmbeddedServer(tmp_path / "data").start()
