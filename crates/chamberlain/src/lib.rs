//! Command line, configuration, wiring: knows everybody and holds no rule. A library for two users
//! only: `main.rs`, and the fuzzer of the configuration.

mod cli;
mod config;
mod data_dir;
mod drill;
mod failure;
mod out;
mod rekey;
mod restore;
mod serve;
mod world;

use chamberlain_core::time::Timestamp;

pub use cli::run;

/// Reads a configuration file's text as `up` does, at a fixed moment. Gives its warnings as they
/// are shown.
///
/// # Errors
/// All its mistakes, as they are shown.
pub fn check_configuration(text: &str) -> Result<String, String> {
    /// The day of the newest built-in prices. Whether own prices lie in the past depends on it.
    const AT: Timestamp = Timestamp::from_ms(1_795_435_200_000);
    let file = Some(("chamberlain.toml".to_owned(), text.to_owned()));
    let sources = config::typed::Sources { file, ..config::typed::Sources::default() };
    match config::load(&sources, AT) {
        Ok(loaded) => Ok(loaded.warnings.to_string()),
        Err(mistakes) => Err(mistakes.to_string()),
    }
}
