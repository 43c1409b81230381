//! The sink that is a command: it reads the key from its standard input.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use chamberlain_core::sink::fault::{Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::Program;
use chamberlain_vault::parcel::Parcel;

use super::Sink;
use super::program::Errand;

/// A command.
pub(super) struct CommandSink {
    name: String,
    program: Program,
    within: Duration,
}

impl CommandSink {
    pub(super) fn new(name: String, program: Program, within: Duration) -> CommandSink {
        CommandSink { name, program, within }
    }
}

impl Sink for CommandSink {
    fn check(&self) -> Result<Vec<String>, SinkFault> {
        runnable("command", &self.program)?;
        Ok(vec!["what a command does with a key cannot be seen from here".to_owned()])
    }

    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        runnable("command", &self.program)?;
        let errand = Errand {
            program: &self.program,
            what: "command",
            sink: &self.name,
            stands_for: parcel.stands_for(),
            input: parcel.expose_to_sink(),
            secret: parcel.expose_to_sink(),
            within: self.within,
        };
        errand.run()?;
        Ok(Receipt { mark: "ended with 0".to_owned(), was_there: false, notes: Vec::new() })
    }

    fn verify(&self, _parcel: &Parcel<'_>, _mark: Option<&str>) -> Result<Standing, SinkFault> {
        Ok(Standing::Unknown("a command cannot be asked what it did".to_owned()))
    }
}

/// Looks whether a program is there, may be run, and cannot be changed by others: whoever can
/// change it is given the key.
///
/// # Errors
/// What is wrong.
pub(super) fn runnable(what: &str, program: &Program) -> Result<(), SinkFault> {
    let path = program.command.first().map_or("", String::as_str);
    let odd = |wrong: String, hint: &str| {
        Err(SinkFault::refused(format!("`{what}`: {path} {wrong}"), hint))
    };
    let found: Metadata = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) => {
            return odd(format!("cannot be used: {error}"), "write a program's whole path");
        }
    };
    if !found.is_file() || found.mode() & 0o111 == 0 {
        return odd(
            "is no program".to_owned(),
            "make it executable, or write the path of one that is",
        );
    }
    if found.mode() & 0o002 != 0 {
        let hint = format!("chmod o-w {path}");
        return odd("can be changed by everybody on this machine".to_owned(), &hint);
    }
    Ok(())
}
