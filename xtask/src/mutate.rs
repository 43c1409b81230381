//! Breaks the house on purpose, one thing at a time, in a copy of the tree, and shows who notices.
//!
//! Each mutation of `xtask/mutations/` says in which file which text becomes which, and who is to
//! notice. A text that is not there exactly once, a mutation that does not compile and one that
//! nobody notices are failures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::run::{root, say};

/// Seconds after which whoever still looks has noticed, by not ending.
const PATIENCE_S: &str = "240";

/// Who can notice, with the arguments of cargo.
const CATCHERS: [(&str, &[&str]); 6] = [
    ("sim", &["test", "--package", "chamberlain-sim", "--test", "it"]),
    (
        "soak",
        &[
            "run",
            "--quiet",
            "--package",
            "chamberlain-sim",
            "--",
            "--seeds",
            "400",
            "--steps",
            "3000",
        ],
    ),
    ("core", &["test", "--package", "chamberlain-core", "--lib", "--", "ledger::", "admission::"]),
    (
        "store",
        &[
            "test",
            "--package",
            "chamberlain-store",
            "--lib",
            "--test",
            "it",
            "--",
            "writer::",
            "books::",
            "recovery::",
            "rollups::",
            "batches::",
        ],
    ),
    ("ending", &["test", "--package", "chamberlain-gateway", "--lib", "--", "ending::"]),
    (
        "gateway",
        &[
            "test",
            "--package",
            "chamberlain-gateway",
            "--test",
            "it",
            "--",
            "leaving::",
            "outcomes::",
            "refuse::",
            "money::",
        ],
    ),
];

/// One thing to break.
struct Mutation {
    /// The name of the file in which it is described.
    room: String,
    name: String,
    what: String,
    file: String,
    catchers: Vec<String>,
    before: String,
    after: String,
}

/// Breaks everything, or what has `wanted` in its name, and prints a table.
pub(crate) fn mutate(wanted: Option<&str>) -> anyhow::Result<()> {
    let mutations = read_all()?;
    let tree = copy_tree(wanted.unwrap_or("all"))?;
    for mutation in &mutations {
        mutation.applied(&tree)?;
    }
    say(&format!("{} mutations apply", mutations.len()));
    let mut rows = Vec::new();
    let mut survivors = 0;
    let is_wanted = |mutation: &&Mutation| wanted.is_none_or(|word| mutation.is_called(word));
    for mutation in mutations.iter().filter(is_wanted) {
        let begun = Instant::now();
        let caught = mutation.try_on(&tree)?;
        survivors += usize::from(caught.is_none());
        let by = caught.unwrap_or_else(|| "**nobody**".to_owned());
        say(&format!("{}: {by} ({} s)", mutation.name, begun.elapsed().as_secs()));
        rows.push(format!("| `{}` | {} | {by} |", mutation.name, mutation.what));
    }
    say(&format!("| Mutation | What is broken | Caught by |\n|---|---|---|\n{}", rows.join("\n")));
    ensure!(!rows.is_empty(), "no mutation has that in its name");
    ensure!(survivors == 0, "{survivors} of {} were noticed by nobody", rows.len());
    say(&format!("all {} were caught", rows.len()));
    Ok(())
}

impl Mutation {
    /// Whether its name, or the name of its room, has that in it.
    fn is_called(&self, word: &str) -> bool {
        self.name.contains(word) || self.room.contains(word)
    }

    /// The file's text with this mutation in it.
    fn applied(&self, tree: &Path) -> anyhow::Result<(PathBuf, String, String)> {
        let path = tree.join(&self.file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("{}: {}", self.name, self.file))?;
        let count = text.matches(&self.before).count();
        ensure!(
            count == 1,
            "mutation {} no longer applies: its text is {count} times in {}",
            self.name,
            self.file
        );
        let mutated = text.replace(&self.before, &self.after);
        Ok((path, text, mutated))
    }

    /// Who notices first; `None` when nobody does. The tree is as it was afterwards.
    fn try_on(&self, tree: &Path) -> anyhow::Result<Option<String>> {
        let (path, text, mutated) = self.applied(tree)?;
        fs::write(&path, mutated)?;
        let caught = self.catchers.iter().find_map(|name| look(tree, name).transpose());
        fs::write(&path, text)?;
        caught.transpose().with_context(|| self.name.clone())
    }
}

/// What a catcher says of the tree; `None` when it sees nothing.
fn look(tree: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let known = CATCHERS.iter().find(|(known, _)| *known == name);
    let (_, words) = known.with_context(|| format!("nobody is called {name}"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A target folder of its own: cargo takes equal packages of two trees for the same.
    let target = tree.join("target");
    let settled = |command: &mut Command| {
        command
            .current_dir(tree)
            .env("CARGO_TARGET_DIR", &target)
            .env("INSTA_UPDATE", "no")
            .env("PROPTEST_FAILURE_PERSISTENCE", "off")
            .output()
    };
    // Patience is for what is built; building takes what it takes.
    let selection = words[1..].iter().take_while(|word| **word != "--");
    let only_build: &[&str] = if words[0] == "test" { &["test", "--no-run"] } else { &["build"] };
    let built = settled(Command::new(&cargo).args(only_build).args(selection))?;
    if !built.status.success() {
        bail!("does not compile:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    let output = settled(Command::new("timeout").arg(PATIENCE_S).arg(&cargo).args(*words))?;
    said(name, &output)
}

fn said(name: &str, output: &Output) -> anyhow::Result<Option<String>> {
    if output.status.success() {
        return Ok(None);
    }
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(124) {
        return Ok(Some(format!("{name}: does not end")));
    }
    let failed = |line: &str| {
        let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(format!("`{test}`"))
    };
    let mut tests: Vec<String> = out.lines().filter_map(failed).collect();
    if let Some(first) = err.lines().find(|line| line.starts_with("seed ")) {
        // The invariant and the step are enough; amounts differ from run to run of the dice.
        let said: String = first.chars().take(60).collect();
        tests.push(format!("the soak: {}", said.trim_end()));
    }
    if tests.is_empty() {
        bail!("{name} failed without saying why:\n{out}\n{err}");
    }
    let more = tests.len().saturating_sub(2);
    tests.truncate(2);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(Some(format!("{}{more}", tests.join(", "))))
}

/// A copy of every file that git knows; what is there already and the same keeps its time, so that
/// little is built again.
fn copy_tree(name: &str) -> anyhow::Result<PathBuf> {
    let tree = root().join("target/mutate").join(name);
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output()?;
    ensure!(listed.status.success(), "git ls-files failed");
    let listed = String::from_utf8(listed.stdout)?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let Ok(bytes) = fs::read(root().join(name)) else { continue };
        let to = tree.join(name);
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, bytes)?;
    }
    Ok(tree)
}

/// Every mutation, by file and place.
fn read_all() -> anyhow::Result<Vec<Mutation>> {
    let folder = root().join("xtask/mutations");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let mut mutations = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let room = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for block in text.split("\n== ").skip(1) {
            let read = read(&room, block);
            mutations.push(read.with_context(|| format!("{}:\n{block}", path.display()))?);
        }
    }
    Ok(mutations)
}

/// Reads `name: what`, `file path`, `by catchers`, and the two texts between marks.
fn read(room: &str, block: &str) -> anyhow::Result<Mutation> {
    let (head, texts) = block.split_once("\n<<<<\n").context("no <<<< line")?;
    let (before, rest) = texts.split_once("\n====\n").context("no ==== line")?;
    let (after, _) = rest.split_once("\n>>>>").context("no >>>> line")?;
    let mut lines = head.lines();
    let title = lines.next().unwrap_or_default();
    let (name, what) = title.split_once(": ").context("no title")?;
    let file = lines.next().and_then(|line| line.strip_prefix("file ")).context("no file")?;
    let by = lines.next().and_then(|line| line.strip_prefix("by ")).context("nobody is named")?;
    Ok(Mutation {
        room: room.to_owned(),
        name: name.to_owned(),
        what: what.to_owned(),
        file: file.to_owned(),
        catchers: by.split_whitespace().map(str::to_owned).collect(),
        before: before.to_owned(),
        after: after.to_owned(),
    })
}
