"""Settings, and the secret that is made when none is given."""

import stat
import threading

from registry.settings import Settings


def test_everything_has_a_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.database == f"sqlite:///{tmp_path / 'hub-data' / 'hub.sqlite3'}"


def test_the_environment_decides(monkeypatch, tmp_path):
    monkeypatch.setenv("HUB_DATA", str(tmp_path))
    monkeypatch.setenv("HUB_DATABASE_URL", "postgresql://db/hub")
    monkeypatch.setenv("HUB_SECRET", "topsecret")
    settings = Settings()
    assert settings.database == "postgresql://db/hub"
    assert settings.signing_key() == b"topsecret"
    assert "topsecret" not in repr(settings)


def test_workers_that_start_together_agree_on_the_secret(tmp_path):
    keys = []

    def start():
        keys.append(Settings(data=tmp_path / "new").signing_key())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(keys)) == 1
    assert len(keys[0]) == 64
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret"]
    assert stat.S_IMODE((tmp_path / "new" / "secret").stat().st_mode) == 0o600


def test_the_summary_says_what_each_means_and_no_secret(monkeypatch):
    monkeypatch.setenv("HUB_SECRET", "topsecret")
    monkeypatch.setenv("HUB_METRICS_TOKEN", "topsecret")
    monkeypatch.setenv("HUB_DATABASE_URL", "postgresql://hub:topsecret@db/hub?password=topsecret")
    monkeypatch.setenv("HUB_PAGE_SIZE", "50")
    settings = Settings().model_copy(update={"public_url": "https://hub.example.org"})
    found = {each.variable: each for each in settings.summary()}
    assert "topsecret" not in repr(found)
    assert found["HUB_SECRET"].value == "set, not shown"
    assert found["HUB_DATABASE_URL"].value == "postgresql://hub:***@db/hub"
    assert (found["HUB_PAGE_SIZE"].value, found["HUB_PAGE_SIZE"].source) == ("50", "environment")
    assert found["HUB_PUBLIC_URL"].source == "command line"
    assert found["HUB_FILE_LIMIT"].source == "default"
    assert len(found) == len(Settings.model_fields)
    assert all(each.meaning.endswith(".") for each in found.values())
