//! The walls between the rooms, as far as manifests make them.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::repository::{code_spans, files_ending, none, read, rows};

/// Rooms by floor: an arrow leads to a lower floor, never sideways.
const FLOORS: [(&str, u32); 11] = [
    // Above the binary, so that nothing that ships can use them.
    ("chamberlain-bench", 6),
    ("chamberlain-fuzz", 5),
    ("chamberlain-sim", 5),
    ("chamberlain", 4),
    ("chamberlain-control", 3),
    ("chamberlain-gateway", 3),
    ("chamberlain-mock", 2),
    ("chamberlain-store", 2),
    ("chamberlain-vault", 2),
    ("chamberlain-core", 1),
    ("chamberlain-scan", 1),
];

/// Arrows that would run down and are forbidden all the same, each the point of a wall.
const FORBIDDEN: [(&str, &str, &str); 4] = [
    ("chamberlain-gateway", "chamberlain-store", "a call never waits for SQL of its own"),
    ("chamberlain-gateway", "chamberlain-mock", "the mock is an upstream like any other"),
    ("chamberlain-control", "chamberlain-mock", "the mock knows no house and no house knows it"),
    ("chamberlain-mock", "chamberlain-core", "what checks the rules must not share them"),
];

/// All that core may use: data formats, dates, hashes and signatures, no way out into the world.
const CORE_MAY_USE: [&str; 10] = [
    "base64",
    "ed25519-dalek",
    "ipnet",
    "jiff",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "zeroize",
];

/// Crates that one room alone may name, in dependencies of any kind.
const KEPT_TO_ONE_ROOM: [(&str, &str); 6] = [
    ("age", "chamberlain-vault"),
    ("rusqlite", "chamberlain-store"),
    ("chacha20poly1305", "chamberlain-vault"),
    ("argon2", "chamberlain-vault"),
    ("crypto_box", "chamberlain-vault"),
    ("hyper-rustls", "chamberlain-gateway"),
];

struct Manifest {
    name: String,
    uses: BTreeSet<String>,
    uses_in_tests: BTreeSet<String>,
    not_from_workspace: Vec<String>,
}

fn manifests() -> Vec<Manifest> {
    // The root has no rooms' arrows of its own, and the fuzzer's programs are no member.
    let is_member = |path: &String| path != "Cargo.toml" && !path.starts_with("fuzz/");
    let paths = files_ending("Cargo.toml").into_iter().filter(is_member);
    paths.map(|path| manifest(&read(&path).parse().expect("cargo reads it too"))).collect()
}

fn manifest(table: &Table) -> Manifest {
    let section = |name: &str| table.get(name).and_then(Value::as_table).cloned();
    let names = |name: &str| section(name).unwrap_or_default().keys().cloned().collect();
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let all = sections.iter().flat_map(|name| section(name).unwrap_or_default());
    let is_own = |value: &Value| value.get("workspace").and_then(Value::as_bool) != Some(true);
    Manifest {
        name: table["package"]["name"].as_str().expect("a package has a name").to_owned(),
        uses: names("dependencies"),
        uses_in_tests: names("dev-dependencies"),
        not_from_workspace: all.filter(|(_, value)| is_own(value)).map(|(name, _)| name).collect(),
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("chamberlain")
}

fn workspace_dependencies() -> BTreeSet<String> {
    let root: Table = read("Cargo.toml").parse().expect("cargo reads it too");
    let table = root["workspace"]["dependencies"].as_table().expect("a table");
    table.keys().cloned().collect()
}

#[test]
fn the_stairs_are_drawn_as_they_are() {
    let drawn: BTreeMap<String, BTreeSet<String>> = rows("ARCHITECTURE.md", "The stairs")
        .iter()
        .map(|row| {
            let room = code_spans(&row[0])[0].to_owned();
            (room, code_spans(&row[1]).into_iter().map(str::to_owned).collect())
        })
        .collect();
    let built: BTreeMap<String, BTreeSet<String>> = manifests()
        .into_iter()
        .filter(|manifest| is_ours(&manifest.name))
        .map(|Manifest { name, uses, .. }| {
            (name, uses.into_iter().filter(|name| is_ours(name)).collect())
        })
        .collect();
    assert_eq!(drawn, built, "left: ARCHITECTURE.md, right: the manifests");
}

#[test]
fn arrows_run_down_only() {
    let floor = |name: &str| FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor);
    let mut wrong = Vec::new();
    for Manifest { name, uses, uses_in_tests, .. } in manifests() {
        for used in uses.iter().chain(&uses_in_tests).filter(|used| is_ours(used)) {
            match (floor(&name), floor(used)) {
                (Some(from), Some(to)) if from > to => {}
                (from, to) => wrong.push(format!("{name} ({from:?}) uses {used} ({to:?})")),
            }
            let forbidden =
                FORBIDDEN.iter().find(|(from, to, _)| *from == name && *to == used.as_str());
            if let Some((_, _, why)) = forbidden {
                wrong.push(format!("{name} uses {used}, but {why}"));
            }
        }
    }
    none(wrong, "arrows that do not run down");
}

#[test]
fn core_can_reach_nothing() {
    let core = manifests().into_iter().find(|manifest| manifest.name == "chamberlain-core");
    let uses = core.expect("core is a member").uses;
    let more = uses.iter().filter(|name| !CORE_MAY_USE.contains(&name.as_str())).cloned();
    none(more.collect(), "core uses what is not on its list");
}

#[test]
fn sql_encryption_and_tls_are_kept_to_one_room_each() {
    let mut wrong = Vec::new();
    for Manifest { name, uses, uses_in_tests, .. } in manifests() {
        for (kept, room) in KEPT_TO_ONE_ROOM {
            if name != room && (uses.contains(kept) || uses_in_tests.contains(kept)) {
                wrong.push(format!("{name} uses {kept}, which is {room}'s alone"));
            }
        }
    }
    none(wrong, "walls with a hole");
}

#[test]
fn versions_stand_in_one_place() {
    let own = manifests().into_iter().flat_map(|manifest| {
        let name = manifest.name;
        manifest.not_from_workspace.into_iter().map(move |used| format!("{name}: {used}"))
    });
    none(own.collect(), "dependencies that do not say `workspace = true`");
}

#[test]
fn every_dependency_is_used_and_has_its_line() {
    let wanted: BTreeSet<String> =
        workspace_dependencies().into_iter().filter(|name| !is_ours(name)).collect();
    let explained: Vec<String> = rows("docs/dependencies.md", "Dependencies")
        .iter()
        .map(|row| code_spans(&row[0])[0].to_owned())
        .collect();
    let once: BTreeSet<String> = explained.iter().cloned().collect();
    assert_eq!(explained.len(), once.len(), "docs/dependencies.md explains one twice");
    assert_eq!(once, wanted, "left: docs/dependencies.md, right: Cargo.toml");
    let used: BTreeSet<String> = manifests()
        .into_iter()
        .flat_map(|manifest| manifest.uses.into_iter().chain(manifest.uses_in_tests))
        .collect();
    let idle = wanted.difference(&used).cloned().collect();
    none(idle, "dependencies of the workspace that no member uses");
}
