//! `chamberlain doctor --repository`: keys that lie about in a repository and in the shell's
//! history, and files that would let them out.
//!
//! What has the shape of a key is told by file and line, never shown. Only files whose names say
//! that they hold settings are read; git is asked what it would take, with nothing of the
//! repository's own configuration that could start a program.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chamberlain_control::reply::{Check, CheckState};
use chamberlain_core::hygiene::{self, FileKind, Found, KeyShape, MUST_BE_IGNORED};
use zeroize::Zeroizing;

use super::check;
use crate::failure::Failure;

/// Folders that hold what others wrote, or what was built.
const PASSED_OVER: [&str; 8] =
    [".git", "node_modules", "target", "vendor", ".venv", "venv", "dist", "build"];

/// No repository that a person looks through has more.
const ENTRIES_MAX: usize = 200_000;

/// A larger file is no file of settings.
const BYTES_MAX: u64 = 4 << 20;

/// Histories of shells, below the home folder.
const HISTORIES: [&str; 5] = [
    ".bash_history",
    ".zsh_history",
    ".sh_history",
    ".local/share/fish/fish_history",
    ".python_history",
];

/// A file that was looked at.
struct Looked {
    /// Below the repository, or whole.
    path: String,
    kind: FileKind,
    mode: u32,
    owner: u32,
    keys: Vec<Found>,
}

/// Every check of the repository at `root`, and of the history of whoever asks.
pub(super) fn checks(root: &Path) -> Result<Vec<Check>, Failure> {
    let about = fs::metadata(root).map_err(|error| Failure::file(root, &error))?;
    if !about.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder", root.display())));
    }
    let mut files = Vec::new();
    let is_whole = walk(root, &mut files);
    let mut checks = Vec::new();
    if !is_whole {
        let message = format!("there are more than {ENTRIES_MAX} files; not all were looked at");
        let fix = Some("look at its parts one by one".to_owned());
        checks.push(check("repository", CheckState::Warning, message, fix));
    }
    checks.extend(modes(&files, about.uid()));
    checks.extend(copies(&files));
    checks.extend(planted(&files));
    checks.extend(upstream(&files));
    checks.extend(shared(&files));
    checks.extend(git(root, &files));
    checks.extend(history());
    Ok(checks)
}

fn problem(name: &str, message: String, fix: impl Into<String>) -> Check {
    check(name, CheckState::Problem, message, Some(fix.into()))
}

fn warning(name: &str, message: String, fix: impl Into<String>) -> Check {
    check(name, CheckState::Warning, message, Some(fix.into()))
}

/// What was found, or that nothing was.
fn or_well(name: &str, found: Vec<Check>, well: &str) -> Vec<Check> {
    match found.is_empty() {
        true => vec![check(name, CheckState::Ok, well, None)],
        false => found,
    }
}

/// Collects the files that may have keys in them; false when there were too many to look at.
fn walk(root: &Path, files: &mut Vec<Looked>) -> bool {
    let mut folders = vec![PathBuf::new()];
    let mut left = ENTRIES_MAX;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            let Some(rest) = left.checked_sub(1) else { return false };
            left = rest;
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let path = folder.join(&name);
            if kind.is_dir() {
                if !PASSED_OVER.contains(&&*name.to_string_lossy()) {
                    folders.push(path);
                }
                continue;
            }
            // A link leads to a file that is looked at where it lies, or that is not ours to read.
            if !kind.is_file() {
                continue;
            }
            let shown = path.to_string_lossy().into_owned();
            if let Some(kind) = hygiene::kind_of(&shown) {
                files.extend(look(&root.join(&path), shown, kind));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    true
}

fn look(file: &Path, path: String, kind: FileKind) -> Option<Looked> {
    let about = fs::symlink_metadata(file).ok()?;
    let keys = read(file).map_or_else(Vec::new, |text| hygiene::keys_in(&text));
    Some(Looked { path, kind, mode: about.mode() & 0o777, owner: about.uid(), keys })
}

fn read(file: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let open = File::options().read(true).custom_flags(flags).open(file).ok()?;
    let size = open.metadata().ok()?.len().min(BYTES_MAX);
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(size).ok()? + 1));
    open.take(BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Env files that others can read, or that belong to somebody else than the repository does.
fn modes(files: &[Looked], owner: u32) -> Vec<Check> {
    const NAME: &str = "modes of env files";
    let env = files.iter().filter(|file| matches!(file.kind, FileKind::Env | FileKind::EnvCopy));
    let mut found = Vec::new();
    for Looked { path, mode, owner: whose, keys, .. } in env {
        let state = if keys.is_empty() { CheckState::Warning } else { CheckState::Problem };
        if mode & 0o077 != 0 {
            let message = format!("others can read {path} (mode {mode:o})");
            found.push(check(NAME, state, message, Some(format!("chmod 600 {path}"))));
        }
        if *whose != owner {
            let message = format!("{path} belongs to uid {whose}, the repository to uid {owner}");
            found.push(warning(
                NAME,
                message,
                "give it to whoever runs the program, and to no other",
            ));
        }
    }
    or_well(NAME, found, "each is its owner's alone")
}

/// Copies of env files: a key that was replaced lives on in them.
fn copies(files: &[Looked]) -> Vec<Check> {
    const NAME: &str = "copies of env files";
    let copies = files.iter().filter(|file| file.kind == FileKind::EnvCopy);
    let found = copies.map(|Looked { path, keys, .. }| {
        let fix = format!("shred -u {path}: a key that was replaced lives on in it");
        match keys.first() {
            Some(key) => {
                let what = format!("{path} keeps {} in plain text", key.shape.name());
                problem(NAME, what, fix)
            }
            None => warning(NAME, format!("{path} is a copy of an env file"), fix),
        }
    });
    or_well(NAME, found.collect(), "there are none")
}

/// Keys in files that are meant for git.
fn planted(files: &[Looked]) -> Vec<Check> {
    const NAME: &str = "keys in CI files and samples";
    let for_git =
        files.iter().filter(|file| matches!(file.kind, FileKind::Ci | FileKind::EnvSample));
    let found = for_git.flat_map(|file| {
        file.keys.iter().map(|key| {
            let what = format!("{}:{} has {}", file.path, key.line, key.shape.name());
            problem(NAME, what, replace(key.shape))
        })
    });
    or_well(NAME, found.collect(), "none has the shape of a key in it")
}

/// What to do with a key that got out.
fn replace(shape: KeyShape) -> &'static str {
    match shape {
        KeyShape::Virtual => {
            "chamberlain virtual revoke, make another, and let CI read it from its secrets \
             (chamberlain sink deliver)"
        }
        _ => {
            "take it for leaked: replace it in the Claude Console, revoke it there, and let CI \
             read a virtual key from its secrets (chamberlain sink deliver)"
        }
    }
}

/// Upstream keys on a machine where people work.
fn upstream(files: &[Looked]) -> Vec<Check> {
    const NAME: &str = "upstream keys in env files";
    let env = files.iter().filter(|file| file.kind == FileKind::Env);
    let found = env.flat_map(|file| {
        let keys = file.keys.iter().filter(|key| key.shape != KeyShape::Virtual);
        keys.map(|key| {
            let what = format!("{}:{} has {}", file.path, key.line, key.shape.name());
            warning(NAME, what, "give it a virtual key instead: chamberlain virtual create")
        })
    });
    or_well(NAME, found.collect(), "there are none")
}

/// One key in several files: their incidents, budgets and costs cannot be told apart.
fn shared(files: &[Looked]) -> Vec<Check> {
    const NAME: &str = "keys shared between files";
    let mut places: BTreeMap<[u8; 8], Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.kind != FileKind::EnvCopy) {
        for key in &file.keys {
            let at = places.entry(key.digest).or_default();
            if !at.contains(&file.path.as_str()) {
                at.push(&file.path);
            }
        }
    }
    let several = places.into_values().filter(|at| at.len() > 1);
    let found = several.map(|at| {
        let what = format!("one key is in {}", at.join(", "));
        problem(NAME, what, "give each environment a key of its own")
    });
    or_well(NAME, found.collect(), "no two have the same")
}

/// What git would take, and what it has.
fn git(root: &Path, files: &[Looked]) -> Vec<Check> {
    const IGNORED: &str = "env files and git";
    let Some(inside) = ask_git(root, &["rev-parse", "--is-inside-work-tree"], &[]) else {
        let message = format!("git does not know {} as a repository", root.display());
        let fix = "if it is one: run this as its owner, with git installed";
        return vec![warning(IGNORED, message, fix)];
    };
    if inside.trim() != "true" {
        return Vec::new();
    }
    let mut found = Vec::new();
    let tracked = ask_git(root, &["ls-files", "-z"], &[]).unwrap_or_default();
    for path in tracked.split('\0') {
        if matches!(hygiene::kind_of(path), Some(FileKind::Env | FileKind::EnvCopy)) {
            let message = format!("git keeps {path}, with every version it ever had");
            let fix = format!("replace the keys that were in it, then: git rm --cached {path}");
            found.push(problem(IGNORED, message, fix));
        }
    }
    let here = files.iter().filter(|file| matches!(file.kind, FileKind::Env | FileKind::EnvCopy));
    let here: Vec<&str> = here.map(|file| file.path.as_str()).collect();
    let wanted: Vec<&str> = MUST_BE_IGNORED.iter().copied().chain(here.iter().copied()).collect();
    // Ends with 1 when nothing is ignored, which is an answer.
    let arguments = ["check-ignore", "--no-index", "-z", "--stdin"];
    let ignored = ask_git(root, &arguments, &wanted).unwrap_or_default();
    let ignored: Vec<&str> = ignored.split('\0').collect();
    let missed: Vec<&str> = wanted.iter().copied().filter(|name| !ignored.contains(name)).collect();
    if !missed.is_empty() {
        let is_here = missed.iter().any(|name| here.contains(name));
        let state = if is_here { CheckState::Problem } else { CheckState::Warning };
        let message = format!("git would take {}", missed.join(", "));
        let fix = "put these lines into .gitignore:  .env  .env.*  !.env.example".to_owned();
        found.push(check(IGNORED, state, message, Some(fix)));
    }
    or_well(IGNORED, found, "git takes no env file and no copy of one")
}

/// What git answers; `None` when it cannot be asked.
fn ask_git(root: &Path, arguments: &[&str], names: &[&str]) -> Option<String> {
    use std::io::Write;
    let mut command = Command::new("git");
    // A repository's own configuration can name programs for these.
    command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    command.arg("-C").arg(root).args(arguments).stderr(Stdio::null());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take()?;
    let text = names.iter().map(|name| format!("{name}\0")).collect::<String>();
    let fed = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().ok()?;
    let _ = fed.join();
    matches!(output.status.code(), Some(0 | 1))
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        .filter(|text| output.status.success() || text.is_empty())
}

/// Keys that were typed at a shell.
fn history() -> Vec<Check> {
    const NAME: &str = "shell history";
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return Vec::new() };
    let named = std::env::var_os("HISTFILE").map(PathBuf::from);
    let mut paths: Vec<PathBuf> = HISTORIES.iter().map(|name| home.join(name)).collect();
    paths.extend(named.filter(|path| !paths.contains(path)));
    let mut found = Vec::new();
    for path in paths {
        let Some(text) = read(&path) else { continue };
        let keys = hygiene::keys_in(&text);
        if let (Some(first), count) = (keys.first(), keys.len()) {
            let shown = path.display();
            let message =
                format!("{shown}:{} has {} ({count} in all)", first.line, first.shape.name());
            let fix =
                format!("take it for leaked and replace it; then remove the lines from {shown}");
            found.push(problem(NAME, message, fix));
        }
    }
    or_well(NAME, found, "none of yours has the shape of a key in it")
}
