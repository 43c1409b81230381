//! The tests through the real binary with the official Python and TypeScript SDKs.
//!
//! Both sets of packages are pinned (`tests/e2e/*/`) and installed once per change of their pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::run::{cargo, root, run};

/// Installs what is needed and runs both suites.
pub(crate) fn test() -> anyhow::Result<()> {
    run(cargo().args(["build", "--locked", "--package", "chamberlain"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = target.join("debug").join("chamberlain");
    python(&target, &binary)?;
    typescript(&binary)
}

fn python(target: &Path, binary: &Path) -> anyhow::Result<()> {
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
        .env("CHAMBERLAIN_BIN", binary))
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
