//! One run: everybody started, everything measured, everybody stopped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::candidate::{self, Candidate, House};
use crate::machine::{Machine, told_by};
use crate::plan::{Asked, Part};
use crate::process::{self, Memory};
use crate::results::Results;
use crate::{bare, goals, micro, phases, report, say, start, streams, tell};

/// Measures what was asked for and prints it.
pub(crate) fn run(asked: &Asked) -> anyhow::Result<()> {
    more_files()?;
    let machine = quiet_machine(asked)?;
    let mut facts = Facts::of(asked, &machine);
    let folder = Folder::new()?;
    let candidates = start(asked, &folder.0)?;
    let mut results = Results::default();
    let begun = Instant::now();
    let (busy, total) = process::machine_cpu();
    let me = std::process::id();
    let ours = process::cpu_seconds(me);
    measure(asked, &folder.0, &candidates, &mut results)?;
    let (busy_after, total_after) = process::machine_cpu();
    let ours = process::cpu_seconds(me) - ours;
    let noise = (busy_after - busy - ours).max(0.0) / (total_after - total).max(0.01);
    if asked.wants(Part::Micro) {
        tell("single pieces …");
        micro::pieces(&asked.plan(), house(&candidates)?, &mut results)?;
    }
    facts.ended(noise, begun);
    give_out(asked, &facts, &results)?;
    for candidate in candidates {
        candidate.process.stop()?;
    }
    Ok(())
}

/// The machine, once others leave it alone or were given a minute to.
fn quiet_machine(asked: &Asked) -> anyhow::Result<Machine> {
    let until = Instant::now() + Duration::from_secs(if asked.quick { 0 } else { 60 });
    let mut machine = Machine::look();
    while !machine.is_quiet() && Instant::now() < until {
        machine = Machine::look();
    }
    tell(&machine.line());
    if !machine.is_quiet() {
        tell("WARNING: this machine is busy with other work; the figures say little");
        anyhow::ensure!(
            asked.write.is_none() || asked.even_if_noisy,
            "nothing is written on a busy machine, unless with --even-if-noisy"
        );
    }
    Ok(machine)
}

/// The one with everything on.
fn house(candidates: &[Candidate]) -> anyhow::Result<&House> {
    candidates.iter().find_map(|it| it.house.as_ref()).context("nobody keeps a record")
}

/// Prints everything, and puts it where it was asked for.
fn give_out(asked: &Asked, facts: &Facts, results: &Results) -> anyhow::Result<()> {
    let divisor = asked.plan().streams_divisor;
    let (goals, tables) = (goals::table(results, divisor), report::tables(results));
    let text = format!("{}\n\n{goals}\n{tables}", facts.text());
    say(&text);
    if let Some(file) = &asked.write {
        let document = std::fs::read_to_string(file)?;
        std::fs::write(file, report::inserted(&document, &text)?)?;
    }
    let Some(file) = &asked.json else { return Ok(()) };
    let all = json!({
        "run": facts.json, "metrics": results.to_json(),
        "goals": goals::to_json(results, divisor),
    });
    let text = serde_json::to_string_pretty(&all)?;
    match file.to_str() {
        Some("-") => say(&text),
        _ => std::fs::write(file, text)?,
    }
    Ok(())
}

fn measure(
    asked: &Asked,
    folder: &Path,
    candidates: &[Candidate],
    results: &mut Results,
) -> anyhow::Result<()> {
    let plan = asked.plan();
    sleep(Duration::from_secs(1));
    let idle = memory(candidates, "idle", asked.wants(Part::Memory), results);
    if asked.wants(Part::Start) {
        tell("cold start …");
        start::cold_start(asked, &plan, folder, &candidates[0], results)?;
    }
    // First, so that what a stream weighs is not found in memory that other loads left behind.
    if asked.wants(Part::Streams) {
        tell("streams …");
        streams::streams(&plan, candidates[0].address, candidates, &idle, results)?;
    }
    phases::warm_up(candidates)?;
    if asked.wants(Part::Throughput) {
        tell("throughput …");
        phases::throughput(&plan, candidates, results)?;
    }
    if asked.wants(Part::Latency) {
        tell("latency …");
        phases::latency(&plan, candidates, results)?;
    }
    if asked.wants(Part::Bodies) {
        tell("bodies …");
        phases::bodies(&plan, candidates, results)?;
    }
    memory(candidates, "at rest after it all", asked.wants(Part::Memory), results);
    Ok(())
}

/// What everybody holds now, and keeps it as a result if that is wanted.
fn memory(
    candidates: &[Candidate],
    when: &str,
    is_wanted: bool,
    results: &mut Results,
) -> Vec<(String, Memory)> {
    let of = |it: &Candidate| (it.name.clone(), process::memory(it.pid()));
    let all: Vec<(String, Memory)> = candidates.iter().map(of).collect();
    for (name, memory) in all.iter().filter(|_| is_wanted) {
        let mib = |kib: u64| kib as f64 / 1_024.0;
        results.push("memory", &format!("MiB RSS {when}"), name, mib(memory.rss_kib));
        let pss = memory.pss_kib.map_or(f64::NAN, mib);
        results.push("memory", &format!("MiB PSS {when}"), name, pss);
    }
    all
}

/// Starts everybody, the mock first.
fn start(asked: &Asked, folder: &Path) -> anyhow::Result<Vec<Candidate>> {
    let mock = candidate::mock()?;
    let upstream = mock.address;
    let mut candidates = vec![mock];
    match &asked.nginx {
        Some(binary) => {
            let place = folder.join("nginx");
            let address = candidate::free_address()?;
            candidates.push(candidate::nginx(binary, address, upstream, &place)?);
        }
        None => tell("nginx is not here: its row is missing, and every comparison with it"),
    }
    candidates.push(candidate::bare(([127, 0, 0, 1], 0).into(), upstream)?);
    let house = |name: &str, binary: &Path| House {
        binary: binary.to_owned(),
        data: folder.join(format!("data-{name}")),
    };
    let everything = house("everything", &asked.chamberlain);
    candidates.push(candidate::everything(goals::EVERYTHING, everything, upstream)?);
    for (name, binary) in &asked.also {
        candidates.push(candidate::everything(name, house(name, binary), upstream)?);
    }
    let body = phases::small_prompt(false, 256);
    for candidate in &candidates {
        candidate::until_answered(candidate.address, &candidate.request("", &body))?;
    }
    Ok(candidates)
}

/// What the run was, for people and programs.
struct Facts {
    json: Value,
}

impl Facts {
    /// What is known before: a commit that is made during the run was not measured.
    fn of(asked: &Asked, machine: &Machine) -> Facts {
        let git = |words: &[&str]| told_by(Command::new("git").args(words));
        let changed = !git(&["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let dirty = if changed { ", changed" } else { "" };
        let nginx = asked.nginx.as_ref().map(|binary| told_by(Command::new(binary).arg("-v")));
        let json = json!({
            "at": bare::now().to_string(),
            "commit": format!("{}{dirty}", git(&["rev-parse", "--short=10", "HEAD"])),
            "chamberlain": told_by(Command::new(&asked.chamberlain).arg("--version")),
            "nginx": nginx,
            "machine": machine.to_json(),
            "machine_line": machine.line(),
            "quick": asked.quick,
            "rounds": asked.plan().rounds,
        });
        Facts { json }
    }

    /// What is known afterwards.
    fn ended(&mut self, noise: f64, begun: Instant) {
        self.json["noise_during"] = json!(noise);
        self.json["seconds"] = json!(begun.elapsed().as_secs());
    }

    fn text(&self) -> String {
        let word = |name: &str| self.json[name].as_str().unwrap_or("–");
        format!(
            "{}; commit {}; {}; {}.\n{}; {:.0} % during the run.\n{} rounds in {} s{}.",
            word("at"),
            word("commit"),
            word("chamberlain"),
            word("nginx"),
            word("machine_line"),
            self.json["noise_during"].as_f64().unwrap_or_default() * 100.0,
            self.json["rounds"],
            self.json["seconds"],
            if self.json["quick"] == true { ", quick: too short to mean much" } else { "" },
        )
    }
}

/// A connection is a file, and thousands are held.
fn more_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?;
    Ok(())
}

/// A folder of this run's own that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let path = std::env::temp_dir().join(format!("chamberlain-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
