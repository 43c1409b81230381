"""The Dockerfile, step by step. There is no container engine where this runs: each stage gets a root of
its own (an overlay over this machine's, thrown away afterwards), and its lines are done in it."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from house import BINARY, clean_environment

ROOT = Path(__file__).parents[3]


def steps() -> list[tuple[str, str]]:
    """The instructions, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def stages() -> list[list[tuple[str, str]]]:
    found = []
    for instruction in steps():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def words_of(stage, name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def test_the_build_stage_builds_what_the_last_stage_copies():
    build, last = stages()
    channel = re.search(r'channel = "(\d+\.\d+)', (ROOT / "rust-toolchain.toml").read_text())[1]
    assert words_of(build, "FROM") == [f"rust:{channel}-bookworm AS build"]
    [folder], [copied], [built] = (words_of(build, name) for name in ("WORKDIR", "COPY", "RUN"))
    assert copied == ". ."
    cargo = shlex.split(built)
    profile = cargo[cargo.index("--profile") + 1]
    assert f"[profile.{profile}]" in (ROOT / "Cargo.toml").read_text()
    [binary] = words_of(last, "COPY")
    assert binary == f"--from=build {folder}/target/{profile}/chamberlain /usr/bin/chamberlain"
    # The same line, in the profile that is built already.
    cargo[cargo.index("--profile") + 1] = "dev"
    subprocess.run(cargo, cwd=ROOT, check=True)


def test_what_is_left_out_of_the_build_is_nothing_it_needs():
    left_out = (ROOT / ".dockerignore").read_text().split()
    kept = subprocess.run(["git", "ls-files", *left_out], cwd=ROOT, capture_output=True, text=True)
    assert kept.stdout == ""


# Made in a mount namespace, so that nothing of it outlives this process.
IN_A_ROOT = """
set -e
mount -t tmpfs none {folder}
mkdir {folder}/upper {folder}/work {folder}/merged
mount -t overlay none -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/merged
mount --bind /proc {folder}/merged/proc
mount --bind /dev {folder}/merged/dev
{commands}
"""


def in_a_root(folder: Path, commands: str) -> subprocess.CompletedProcess:
    folder.mkdir()
    script = IN_A_ROOT.format(folder=folder, commands=commands)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_last_stage_serves_and_its_health_check_says_so(tmp_path):
    probe = in_a_root(tmp_path / "probe", "true")
    if os.geteuid() != 0 or probe.returncode != 0:
        pytest.skip(f"this machine lets nobody make a root of its own: {probe.stderr}")
    _, last = stages()
    root = tmp_path / "stage" / "merged"
    environment, commands = {}, [f"cp {BINARY} {root}/usr/bin/chamberlain"]
    for line in words_of(last, "RUN"):
        commands.append(f"chroot {root} sh -c {shlex.quote(line)}")
    for pair in words_of(last, "ENV"):
        name, value = pair.split("=", 1)
        environment[name] = value
    [user], [exposed] = words_of(last, "USER"), words_of(last, "EXPOSE")
    entry = json.loads(words_of(last, "ENTRYPOINT")[0]) + json.loads(words_of(last, "CMD")[0])
    check = json.loads(words_of(last, "HEALTHCHECK")[0].split(" CMD ")[1])
    assert environment["CHAMBERLAIN_SERVER__LISTEN"].endswith(f":{exposed}")
    assert words_of(last, "VOLUME") == [environment["CHAMBERLAIN_DATA"]]
    # This machine's ports are not the container's own.
    environment["CHAMBERLAIN_SERVER__LISTEN"] = "127.0.0.1:0"
    environment["CHAMBERLAIN_SERVER__CONSOLE"] = "127.0.0.1:0"
    given = " ".join(f"{name}={value}" for name, value in environment.items())
    inside = f"chroot --userspec={user}:{user} {root} env {given} HOME={environment['CHAMBERLAIN_DATA']}"
    commands += [
        f"if {inside} {shlex.join(check)}; then echo healthy before the start; exit 1; fi",
        f"{inside} {shlex.join(entry)} > {root}/out 2>&1 & server=$!",
        "for wait in $(seq 100); do",
        f"  if {inside} {shlex.join(check)}; then healthy=yes; break; fi",
        "  sleep 0.2",
        "done",
        f"if [ -z $healthy ]; then cat {root}/out; exit 1; fi",
        "kill $server; wait $server",
        f"if {inside} {shlex.join(check)}; then echo healthy after the end; exit 1; fi",
        "echo healthy",
    ]
    ended = in_a_root(tmp_path / "stage", "\n".join(commands))
    assert ended.returncode == 0, ended
    assert ended.stdout.endswith("healthy\n"), ended
