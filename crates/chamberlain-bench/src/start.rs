//! Cold start: from starting the process to its first answered call.
//!
//! The files are in the page cache, as after an upgrade or a crash; the disk is not measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::candidate::{self, Candidate, House};
use crate::goals::EVERYTHING;
use crate::phases::small_prompt;
use crate::plan::{Asked, Plan};
use crate::results::{NGINX, Results};
use crate::wire::{Connection, request};

/// The row of a Chamberlain that makes its data folder first.
pub(crate) const ON_AN_EMPTY_FOLDER: &str = "everything, on an empty folder";

const PHASE: &str = "cold start";
const METRIC: &str = "ms to the first answered call";
/// How often it is tried to connect.
const TRY_EVERY: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(20);

/// nginx, the gateway alone, and Chamberlain on an empty data folder and on its own again.
pub(crate) fn cold_start(
    asked: &Asked,
    plan: &Plan,
    folder: &Path,
    mock: &Candidate,
    results: &mut Results,
) -> anyhow::Result<()> {
    let body = small_prompt(false, 256);
    for round in 0..plan.starts {
        if let Some(binary) = &asked.nginx {
            let (address, begun) = (candidate::free_address()?, Instant::now());
            let place = folder.join("nginx-start");
            let started = candidate::nginx(binary, address, mock.address, &place)?;
            until_answered(&started, &body)?;
            results.push(PHASE, METRIC, NGINX, ms(begun));
            started.process.stop()?;
        }
        let (address, begun) = (candidate::free_address()?, Instant::now());
        let started = candidate::bare(address, mock.address)?;
        until_answered(&started, &body)?;
        results.push(PHASE, METRIC, "bare", ms(begun));
        drop(started);

        let data = folder.join(format!("data-start-{round}"));
        let house = House { binary: asked.chamberlain.clone(), data };
        let upstream_key = candidate::upstream_key()?;
        let mut virtual_key = None;
        for name in [ON_AN_EMPTY_FOLDER, EVERYTHING] {
            let begun = Instant::now();
            let any = ([127, 0, 0, 1], 0).into();
            let (process, address, first) =
                candidate::start_house(&house, any, mock.address, &upstream_key)?;
            virtual_key = first.or(virtual_key);
            let key = virtual_key.as_deref().context("no first virtual key was shown")?;
            Connection::open(address)?.ask(&request(address, key, "", &body))?;
            results.push(PHASE, METRIC, name, ms(begun));
            process.stop()?;
        }
    }
    Ok(())
}

fn until_answered(started: &Candidate, body: &[u8]) -> anyhow::Result<()> {
    let request = started.request("", body);
    let until = Instant::now() + PATIENCE;
    loop {
        match Connection::open(started.address).and_then(|mut it| it.ask(&request)) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(TRY_EVERY),
        }
    }
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}
