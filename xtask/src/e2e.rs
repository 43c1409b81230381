//! The tests through the real binary with the official Python and TypeScript SDKs, and with Claude
//! Code.
//!
//! All packages are pinned (`tests/e2e/*/`) and installed once per change of their pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::run::{cargo, root, run, say};

/// Installs what is needed and runs both suites.
pub(crate) fn test() -> anyhow::Result<()> {
    run(cargo().args(["build", "--locked", "--package", "chamberlain"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = target.join("debug").join("chamberlain");
    let missing = claude_code()?;
    python(&target, &binary, missing.as_deref())?;
    install_openers()?;
    typescript(&binary)
}

/// `missing` says why Claude Code could not be had; its tests skip with that reason.
fn python(target: &Path, binary: &Path, missing: Option<&str>) -> anyhow::Result<()> {
    let suite = root().join("tests/e2e/python");
    let venv = target.join("e2e-python");
    let pins = suite.join("requirements.txt");
    if !is_current(&venv.join("installed-requirements.txt"), &pins)? {
        create_venv(&venv)?;
        run(Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(&pins))?;
        std::fs::copy(&pins, venv.join("installed-requirements.txt"))?;
    }
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pytest", "-q", "--durations=5", "-p", "no:cacheprovider"])
        .arg(&suite)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CLAUDE_CODE_MISSING", missing.unwrap_or_default())
        .env("CHAMBERLAIN_BIN", binary))
}

/// What opens backups in the tests: stock `age` and `gpg`. On a bare machine they are installed first.
fn install_openers() -> anyhow::Result<()> {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if is_there("age") && is_there("gpg") {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    run(Command::new("apt-get").args(["install", "-q", "-y", "age", "gnupg"]))
}

/// Debian keeps `venv` in a package of its own; on a bare machine it is installed first.
fn create_venv(venv: &Path) -> anyhow::Result<()> {
    let create = || run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv));
    if create().is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    run(Command::new("apt-get").args(["install", "-q", "-y", "python3-venv"]))?;
    create()
}

/// What npm says when the registry cannot be reached or does not have a package. Anything else (a
/// package that is not the one that was pinned, no room on the disk) is a failure.
const NOT_SERVED: [&str; 12] = [
    "E401",
    "E403",
    "E404",
    "E5",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTFOUND",
    "ETARGET",
    "ETIMEDOUT",
];

/// Installs Claude Code without running what it brings along; says why where the registry does not
/// serve it.
fn claude_code() -> anyhow::Result<Option<String>> {
    let folder = root().join("tests/e2e/claude-code");
    let pins = folder.join("package-lock.json");
    let installed = folder.join("node_modules/.installed-package-lock.json");
    if is_current(&installed, &pins)? {
        return Ok(None);
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    say(&format!("+ {npm:?}"));
    let output = npm.output().context("cannot start npm")?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let code = told.lines().find_map(|line| line.strip_prefix("npm error code "));
        let code = code.unwrap_or_default();
        ensure!(NOT_SERVED.iter().any(|known| code.starts_with(known)), "{npm:?}:\n{told}");
        return Ok(Some(format!("npm says {code}")));
    }
    // The program is in a package of its own for each kind of machine, which npm leaves out
    // without a word where it cannot be fetched.
    let scope = folder.join("node_modules/@anthropic-ai");
    let mut packages = std::fs::read_dir(&scope)?.flatten();
    if !packages.any(|package| package.path().join("claude").is_file()) {
        return Ok(Some("npm installed no program for this machine".to_owned()));
    }
    std::fs::copy(&pins, installed)?;
    Ok(None)
}

fn typescript(binary: &Path) -> anyhow::Result<()> {
    let suite = root().join("tests/e2e/typescript");
    let pins = suite.join("package-lock.json");
    let installed = suite.join("node_modules/.installed-package-lock.json");
    if !is_current(&installed, &pins)? {
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&suite))?;
        std::fs::copy(&pins, installed)?;
    }
    run(Command::new("npm").arg("test").current_dir(&suite).env("CHAMBERLAIN_BIN", binary))
}

/// Whether `installed` is a copy of the pins as they are now.
fn is_current(installed: &Path, pins: &Path) -> anyhow::Result<bool> {
    let wanted = std::fs::read(pins).with_context(|| format!("cannot read {}", pins.display()))?;
    Ok(std::fs::read(installed).is_ok_and(|have| have == wanted))
}
