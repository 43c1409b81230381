//! Logs: to stderr, readable on a terminal and JSON lines elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Sets logging up for this process. `level` and `format` are as the configuration knows them;
/// `calls` has a line for every call, where the level is low enough for it.
pub(super) fn init(level: &str, format: &str, calls: bool) {
    let json = match format {
        "json" => true,
        "pretty" => false,
        _ => !io::stderr().is_terminal(),
    };
    // Libraries stay quieter than we are: at their debug level they show request headers.
    let filter = match level {
        "off" => EnvFilter::new("off"),
        "error" => EnvFilter::new("error"),
        level => {
            let of_calls = if calls { level } else { "off" };
            EnvFilter::new(format!(
                "warn,chamberlain={level},chamberlain_gateway={level},chamberlain_control={level},\
                 chamberlain_store={level},chamberlain_mock={level},chamberlain::calls={of_calls}"
            ))
        }
    };
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    // A second subscriber cannot be set; the first one is as good.
    let _ = match json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.with_ansi(io::stderr().is_terminal()).compact().try_init(),
    };
}
