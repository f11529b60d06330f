"""Address and key: arguments before the environment before the file, which its owner alone can read."""

from __future__ import annotations

from pathlib import Path

import pytest
from presswork_client import ConfigError, Presswork
from presswork_client.settings import DEFAULT_URL, read_settings

KEY = "pw_of_a_test"
FILE = f'url = "https://api.example.com"\nkey = "{KEY}"\nproject = "site"\n'


def _file(folder: Path, text: str = FILE, mode: int = 0o600) -> dict[str, str]:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return {"PRESSWORK_CONFIG": str(path)}


def test_arguments_come_before_the_environment_before_the_file(tmp_path: Path) -> None:
    """Each name for itself; what nobody says is a default."""
    environment = _file(tmp_path) | {"PRESSWORK_USER": "jane", "PRESSWORK_PROJECT": "shop"}
    found = read_settings({"project": "blog"}, environment)
    assert (found.url, found.key, found.project, found.user) == ("https://api.example.com", KEY, "blog", "jane")
    nothing = read_settings({}, {"HOME": str(tmp_path)})
    assert (nothing.url, nothing.key, nothing.organization) == (DEFAULT_URL, "", "default")


def test_the_file_of_the_user_is_found(tmp_path: Path) -> None:
    """In the folder of configurations, or in that of the user."""
    folder = tmp_path / ".config" / "presswork"
    folder.mkdir(parents=True)
    _file(folder)
    for environment in ({"HOME": str(tmp_path)}, {"XDG_CONFIG_HOME": str(tmp_path / ".config")}):
        assert read_settings({}, environment).key == KEY


def test_a_key_is_for_its_own_address(tmp_path: Path) -> None:
    """The file's key is not sent to an address that comes from elsewhere."""
    environment = _file(tmp_path)
    assert read_settings({"url": "https://api.example.com/"}, environment).key == KEY
    assert read_settings({"url": "https://other.example.com"}, environment).key == ""
    assert read_settings({}, environment | {"PRESSWORK_URL": "https://other.example.com"}).key == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The error says what to do, and holds no key."""
    with pytest.raises(ConfigError, match="chmod 600") as raised:
        read_settings({}, _file(tmp_path, mode=mode))
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "api.example.com"}, "PRESSWORK_URL"),
        ({"url": "https://user:secret@api.example.com"}, "password"),
        ({"url": "https://api.example.com?a=b"}, "PRESSWORK_URL"),
        ({"url": "http://host:port"}, "PRESSWORK_URL"),
        ({"key": "two words"}, "PRESSWORK_API_KEY"),
        ({"key": "line\nend"}, "PRESSWORK_API_KEY"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], said: str) -> None:
    """At once, without the value of a key."""
    with pytest.raises(ConfigError, match=said) as raised:
        read_settings(given, {})
    assert given.get("key", "-") not in str(raised.value)


@pytest.mark.parametrize(("text", "said"), [("url = ", "TOML"), ('token = "x"', "`token`"), ("key = 5", "`key`")])
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """With the setting that is not one."""
    with pytest.raises(ConfigError, match=said):
        read_settings({}, _file(tmp_path, text))


def test_a_key_is_in_no_representation() -> None:
    """Of settings, nor of what holds them."""
    assert KEY not in repr(read_settings({"key": KEY}, {}))
    with Presswork(key=KEY) as client:
        assert KEY not in repr(vars(client)["_operations"].settings)
