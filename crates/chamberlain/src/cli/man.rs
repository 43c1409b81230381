//! `chamberlain man`: man pages for every command, and `chamberlain.toml(5)` out of the table of
//! keys.

use std::path::{Path, PathBuf};

use clap::Args;

use super::context::Context;
use super::help::EXIT_CODES;
use crate::config::keys::{self, KEYS};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chamberlain man --out ./man && man ./man/chamberlain.1";

/// Write the man pages
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Man {
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::file(&self.out, &error))?;
        let mut grammar = super::grammar();
        grammar.build();
        let pages = pages(&grammar, "chamberlain", &self.out)?;
        let path = self.out.join("chamberlain.toml.5");
        std::fs::write(&path, configuration_page())
            .map_err(|error| Failure::file(&path, &error))?;
        context.out.hint(&format!("{} pages written to {}", pages + 1, self.out.display()));
        Ok(())
    }
}

/// Writes the page of a command and those of its verbs; gives their number.
fn pages(command: &clap::Command, name: &str, folder: &Path) -> Result<usize, Failure> {
    // Owned names are what clap wants; a process writes its man pages once.
    let leaked: &'static str = name.to_owned().leak();
    let page = clap_mangen::Man::new(command.clone().name(leaked));
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    page.render(&mut text).map_err(|error| Failure::file(&path, &error))?;
    if name == "chamberlain" {
        text.extend_from_slice(format!(".SH \"EXIT CODES\"\n{}\n", lines(EXIT_CODES)).as_bytes());
    }
    std::fs::write(&path, text).map_err(|error| Failure::file(&path, &error))?;
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut written = 1;
    for verb in verbs {
        written += pages(verb, &format!("{name}-{}", verb.get_name()), folder)?;
    }
    Ok(written)
}

fn lines(text: &str) -> String {
    text.lines().skip(1).map(|line| format!("{}\n.br", escape(line))).collect::<Vec<_>>().join("\n")
}

/// Text that roff shows as it is.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn configuration_page() -> String {
    let mut page = String::from(
        ".TH chamberlain.toml 5\n.SH NAME\nchamberlain.toml \\- configuration of chamberlain\n\
         .SH DESCRIPTION\nTOML with version = 1. Unknown keys are errors. Every key can be \
         overridden by the environment variable that is named with it; a flag of the command line \
         wins over both.\n.SH KEYS\n",
    );
    for key in KEYS {
        let path = key.path.replace('*', "NAME");
        let preset = key.preset.toml(Some("production"));
        page.push_str(&format!(
            ".TP\n.B {}\n{}\n.br\nExpects {}. Default {} (environments: production's). Variable {}.\n",
            escape(&path),
            escape(key.doc),
            escape(&key.kind.expects()),
            escape(preset),
            escape(&keys::variable_of(&path)),
        ));
    }
    page
}
