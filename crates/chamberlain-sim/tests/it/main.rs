//! The simulation, a little of it: `cargo xtask sim` lives longer.

use chamberlain_sim::{run, tell};

const SEEDS: u64 = 200;
const STEPS: u64 = 600;
const THREADS: u64 = 4;

#[test]
fn no_history_breaks_an_invariant() {
    let some = |first: u64| {
        let seeds = (first..SEEDS).step_by(THREADS as usize);
        seeds.map(|seed| run(seed, STEPS).map(|summary| summary.sent)).sum::<Result<u64, _>>()
    };
    let sent: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || some(first))).collect();
        let ends = threads.into_iter().map(|thread| thread.join().expect("a panic is shown above"));
        ends.sum::<Result<u64, _>>().unwrap_or_else(|violation| panic!("{violation}"))
    });
    assert!(sent > 3_000, "hardly any call left, {sent}: the simulation shows nothing");
}

#[test]
fn one_seed_is_one_history() {
    for seed in 1_000..1_010 {
        assert_eq!(run(seed, 300).unwrap(), run(seed, 300).unwrap(), "seed {seed}");
    }
    assert_ne!(run(1, 300).unwrap().hash, run(2, 300).unwrap().hash);
}

/// Every script of `scripts/`, told. A broken invariant would stand in its transcript; none does.
#[test]
fn scripts_are_told_as_they_were() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let script = std::fs::read_to_string(&path).unwrap();
        let transcript = tell(&script).unwrap_or_else(|error| panic!("{name}, {error}"));
        assert!(!transcript.contains("THE AUDITOR"), "{name}:\n{transcript}");
        insta::assert_snapshot!(name, transcript);
        count += 1;
    }
    assert_eq!(count, 12, "scripts were added or lost; tell so here");
}
