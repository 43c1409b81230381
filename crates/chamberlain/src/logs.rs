//! Logs: to stderr, readable on a terminal, JSON lines elsewhere. Other people's libraries speak
//! only when something is wrong.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging; a second start changes nothing.
pub(crate) fn start(level: &str, format: &str) {
    let filter = match level {
        "off" => "off".to_owned(),
        level => {
            let ours = [
                "chamberlain",
                "chamberlain_control",
                "chamberlain_gateway",
                "chamberlain_mock",
                "chamberlain_store",
                "chamberlain_vault",
            ];
            let others = if level == "error" { "error" } else { "warn" };
            let ours: Vec<_> = ours.iter().map(|room| format!("{room}={level}")).collect();
            format!("{others},{}", ours.join(","))
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_target(false);
    let json = match format {
        "json" => true,
        "pretty" => false,
        _ => !io::stderr().is_terminal(),
    };
    // Fails when logging was started already, which is well.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(wants_colour()).try_init()
    };
}

fn wants_colour() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !plain
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
