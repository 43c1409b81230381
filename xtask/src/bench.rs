//! The measurements: builds what is measured as people get it, finds nginx, and starts the
//! measuring program (`crates/chamberlain-bench`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::run::{cargo, root, run, say};

/// Runs the measurements; `words` go to the measuring program, but for `--profile NAME`.
pub(crate) fn bench(words: &[&str]) -> anyhow::Result<()> {
    let (profile, words) = profile(words)?;
    if words.contains(&"--help") || words.contains(&"-h") {
        return measure(&["run", "--help"].map(String::from));
    }
    run(cargo().args(["build", "--locked", "--package", "chamberlain", "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let binary = target().join(folder).join("chamberlain");
    let mut arguments = vec!["run".to_owned(), "--chamberlain".to_owned()];
    arguments.push(binary.display().to_string());
    match nginx() {
        Ok(nginx) => arguments.extend(["--nginx".to_owned(), nginx.display().to_string()]),
        Err(error) => say(&format!("nginx cannot be had: {error:#}")),
    }
    arguments.extend(words.iter().map(|word| (*word).to_owned()));
    measure(&arguments)
}

/// The measuring program itself is always optimized.
fn measure(arguments: &[String]) -> anyhow::Result<()> {
    let build = ["run", "--quiet", "--locked", "--release", "--package", "chamberlain-bench", "--"];
    run(cargo().args(build).args(arguments))
}

/// The profile that Chamberlain is built with: what people get, unless it is said.
fn profile<'a>(words: &[&'a str]) -> anyhow::Result<(&'a str, Vec<&'a str>)> {
    let Some(at) = words.iter().position(|word| *word == "--profile") else {
        return Ok(("dist", words.to_vec()));
    };
    let name = words.get(at + 1).context("--profile wants a name: dist, release or dev")?;
    Ok((name, [&words[..at], &words[at + 2..]].concat()))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// nginx from the machine, or else from Debian's packages, unpacked in the target folder: a
/// package that is installed would also be started.
fn nginx() -> anyhow::Result<PathBuf> {
    let found = [PathBuf::from("/usr/sbin/nginx"), PathBuf::from("/usr/local/sbin/nginx")];
    if let Some(there) = found.into_iter().find(|path| path.is_file()) {
        return Ok(there);
    }
    let folder = target().join("nginx");
    let binary = folder.join("usr/sbin/nginx");
    if !binary.is_file() {
        std::fs::create_dir_all(&folder)?;
        let download =
            || run(Command::new("apt-get").args(["download", "-q", "nginx"]).current_dir(&folder));
        if download().is_err() {
            run(Command::new("apt-get").args(["update", "-q"]))?;
            download()?;
        }
        let unpack = "for package in nginx_*.deb; do dpkg-deb --extract \"$package\" .; done";
        run(Command::new("sh").args(["-c", unpack]).current_dir(&folder))?;
    }
    anyhow::ensure!(binary.is_file(), "the package holds no {}", binary.display());
    Ok(binary)
}
