//! Logs: to stderr, readable on a terminal and JSON lines elsewhere.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Sets logging up for this process. `level` and `format` are as the configuration knows them.
pub(super) fn init(level: &str, format: &str) {
    let json = match format {
        "json" => true,
        "pretty" => false,
        _ => !io::stderr().is_terminal(),
    };
    // Libraries stay quieter than we are: at their debug level they show request headers.
    let filter = match level {
        "off" => EnvFilter::new("off"),
        "error" => EnvFilter::new("error"),
        level => EnvFilter::new(format!(
            "warn,chamberlain={level},chamberlain_gateway={level},chamberlain_control={level},\
             chamberlain_store={level},chamberlain_mock={level}"
        )),
    };
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    // A second subscriber cannot be set; the first one is as good.
    let _ = match json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.with_ansi(io::stderr().is_terminal()).compact().try_init(),
    };
}
