//! `cargo xtask package`: the Debian package, with man pages and completions out of the binary
//! itself.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::run::{self, cargo, root};

/// The version that the package's metadata was tried with.
const CARGO_DEB: &str = "3.8.0";

/// Shells with the file that each looks for.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "chamberlain.bash"), ("zsh", "_chamberlain"), ("fish", "chamberlain.fish")];

/// Builds the binary as it is handed out (or with another profile), what comes with it, and the
/// package; the last line of the output is the package's path.
pub(crate) fn package(words: &[&str]) -> anyhow::Result<()> {
    let profile = match words {
        [] => "dist",
        ["--profile", profile] => profile,
        _ => bail!("`cargo xtask package` takes `--profile NAME` and nothing else"),
    };
    let build = ["build", "--locked", "--package", "chamberlain", "--profile", profile];
    run::run(cargo().args(build))?;
    let binary = root().join("target").join(folder_of(profile)).join("chamberlain");
    beside(&binary, &root().join("target/package"))?;
    need_cargo_deb()?;
    let deb = ["deb", "--package", "chamberlain", "--no-build", "--locked", "--profile", profile];
    run::run(cargo().args(deb))
}

/// Where cargo puts what it builds with a profile.
fn folder_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// Has the binary write what belongs beside it.
fn beside(binary: &Path, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{folder:?}"))?;
    }
    let man = folder.join("man");
    run::run(Command::new(binary).arg("man").arg("--out").arg(&man))?;
    for page in fs::read_dir(&man)? {
        let page = page?.path();
        run::run(Command::new("gzip").args(["--best", "--no-name"]).arg(page))?;
    }
    for (shell, name) in COMPLETIONS {
        let path = folder.join(name);
        let file = File::create(&path).with_context(|| format!("{path:?}"))?;
        run::run(Command::new(binary).args(["completions", shell]).stdout(file))?;
    }
    let sample = folder.join("chamberlain.toml");
    run::run(Command::new(binary).arg("init").arg("--path").arg(sample))
}

fn need_cargo_deb() -> anyhow::Result<()> {
    let known = cargo().args(["deb", "--version"]).output();
    let has = known.is_ok_and(|output| output.stdout.starts_with(CARGO_DEB.as_bytes()));
    if has {
        return Ok(());
    }
    run::run(cargo().args(["install", "--locked", "cargo-deb", "--version", CARGO_DEB]))
}
