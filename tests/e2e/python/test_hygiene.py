"""`chamberlain doctor --repository` on repositories as people leave them."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from house import BINARY, clean_environment, real_looking_key


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / ".github" / "workflows").mkdir(parents=True)
    git(folder, "init", "-q")
    return folder


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "someone"
    folder.mkdir()
    return folder


def doctor(repository: Path, home: Path) -> tuple[int, dict[str, list[dict]], str]:
    done = subprocess.run(
        [BINARY, "doctor", "--repository", str(repository), "--json"],
        capture_output=True,
        text=True,
        env=clean_environment(HOME=str(home), HISTFILE=""),
        timeout=60,
    )
    checks: dict[str, list[dict]] = {}
    for check in json.loads(done.stdout)["checks"]:
        checks.setdefault(check["name"], []).append(check)
    return done.returncode, checks, done.stdout + done.stderr


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_a_clean_repository_is_in_order(repository, home):
    write(repository / ".gitignore", ".env\n.env.*\n!.env.example\n")
    write(repository / ".env.example", "ANTHROPIC_API_KEY=sk-ant-api03-" + "X" * 95, 0o644)
    write(repository / ".env", "NODE_ENV=development\n")
    write(repository / ".github/workflows/t.yml", "env:\n  K: ${{ secrets.K }}\n", 0o644)
    code, checks, said = doctor(repository, home)
    assert code == 0, said
    assert {check["state"] for found in checks.values() for check in found} == {"ok"}, said


def test_the_seeds_patterns_miss_the_copy_that_the_seed_makes(repository, home):
    """I30: `.env.local.backup-20251208` is not matched, and keeps the key for ever."""
    key = real_looking_key()
    write(repository / ".gitignore", ".env\n.env.local\n.env.*.local\n")
    write(repository / ".env.local", f"ANTHROPIC_API_KEY={key}\n")
    write(repository / ".env.local.backup-20251208", f"ANTHROPIC_API_KEY={key}\n")
    code, checks, said = doctor(repository, home)
    assert code == 3 and key[20:50] not in said
    [missed] = checks["env files and git"]
    assert missed["state"] == "problem"
    assert ".env.local.backup-20251208" in missed["message"]
    assert ".env.local," not in missed["message"]
    [copy] = checks["copies of env files"]
    assert copy["state"] == "problem" and "in plain text" in copy["message"]
    assert checks["upstream keys in env files"][0]["state"] == "warning"


def test_keys_are_told_by_place_and_never_shown(repository, home):
    keys = [real_looking_key() for _ in range(3)]
    write(repository / ".gitignore", ".env\n.env.*\n")
    workflow = repository / ".github/workflows/test.yml"
    write(workflow, f"env:\n  ANTHROPIC_API_KEY: {keys[0]}\n", 0o644)
    write(repository / ".env.production", f"K={keys[1]}\n")
    write(repository / "deploy/.env.staging", f"K={keys[1]}\n", 0o640)
    write(home / ".bash_history", f"ls\ncurl -H 'x-api-key: {keys[2]}' x\n")
    code, checks, said = doctor(repository, home)
    assert code == 3
    assert not [key for key in keys if key[20:50] in said]
    [planted] = checks["keys in CI files and samples"]
    assert ".github/workflows/test.yml:2 has an Anthropic API key" in planted["message"]
    [shared] = checks["keys shared between files"]
    assert shared["message"] == "one key is in .env.production, deploy/.env.staging"
    [mode] = checks["modes of env files"]
    assert (mode["state"], mode["fix"]) == ("problem", "chmod 600 deploy/.env.staging")
    [typed] = checks["shell history"]
    assert ".bash_history:2 has an Anthropic API key (1 in all)" in typed["message"]


def test_what_git_keeps_is_told(repository, home):
    write(repository / ".env", "K=1\n")
    git(repository, "add", "-f", ".env")
    git(repository, "commit", "-q", "-m", "oops")
    write(repository / ".gitignore", ".env\n.env.*\n")
    code, checks, _ = doctor(repository, home)
    assert code == 3
    [kept] = checks["env files and git"]
    assert "git keeps .env" in kept["message"] and "git rm --cached .env" in kept["fix"]


def test_links_and_a_repositorys_own_programs_are_let_be(repository, home, tmp_path):
    outside = tmp_path / "outside"
    write(outside, f"K={real_looking_key()}\n", 0o644)
    (repository / ".env").symlink_to(outside)
    (repository / "loop").symlink_to(repository)
    ran = tmp_path / "ran"
    hook = tmp_path / "hook"
    write(hook, f"#!/bin/sh\ntouch {ran}\n", 0o700)
    git(repository, "config", "core.fsmonitor", str(hook))
    write(repository / ".gitignore", ".env\n.env.*\n")
    _, checks, _ = doctor(repository, home)
    assert not ran.exists()
    assert checks["modes of env files"][0]["state"] == "ok"


def test_a_folder_that_is_no_repository_and_one_that_is_not_there(home, tmp_path):
    folder = tmp_path / "plain"
    write(folder / ".env", f"K={real_looking_key()}\n", 0o604)
    code, checks, _ = doctor(folder, home)
    assert code == 3 and checks["env files and git"][0]["state"] == "warning"
    done = subprocess.run(
        [BINARY, "doctor", "--repository", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        env=clean_environment(HOME=str(home)),
    )
    assert done.returncode == 1 and "none" in done.stderr


def test_somebody_elses_file_is_told(repository, home):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    write(repository / ".gitignore", ".env\n.env.*\n")
    write(repository / ".env", "K=1\n")
    os.chown(repository / ".env", 1234, 1234)
    _, checks, _ = doctor(repository, home)
    assert "belongs to uid 1234" in checks["modes of env files"][0]["message"]
