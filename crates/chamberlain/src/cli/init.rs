//! `chamberlain init`: a commented configuration file to start from.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::context::Context;
use crate::config::{locate, sample};
use crate::failure::{Failure, exit};

const EXAMPLES: &str = "\
Examples:
  chamberlain init                                      into the data folder, where `up` finds it
  chamberlain init --path /etc/chamberlain/chamberlain.toml";

/// Write a commented chamberlain.toml
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Init {
    /// Where to write it; nothing that exists is overwritten (default: the data folder)
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (path, found) = match self.path {
            Some(path) => (path, false),
            None => {
                let data = crate::data_dir::DataDir::prepare(&context.data()?)?;
                (data.path().join(locate::FILE_NAME), true)
            }
        };
        let text = sample::text(context.now());
        let opened =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(exit::CONFLICT, format!("{} exists already", path.display()))
                    .hint("move it away, or name another file with --path")
            }
            _ => Failure::file(&path, &error),
        })?;
        file.write_all(text.as_bytes()).map_err(|error| Failure::file(&path, &error))?;
        let shown = path.display().to_string();
        if context.out.json {
            context.out.value(&json!({ "path": shown }))?;
        } else {
            context.out.line(&shown)?;
        }
        let named = if found { String::new() } else { format!(" --config {shown}") };
        context.out.hint(&format!(
            "next: look at production in it, then\n  chamberlain config check{named}\n  \
             chamberlain up{named}"
        ));
        Ok(())
    }
}
