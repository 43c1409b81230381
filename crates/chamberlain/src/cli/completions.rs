//! `chamberlain completions`: what a shell needs to complete commands and flags.

use clap::Args;
use clap_complete::Shell;

use super::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chamberlain completions bash > ~/.local/share/bash-completion/completions/chamberlain
  chamberlain completions zsh > ~/.zfunc/_chamberlain";

/// Completions for a shell
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::grammar(), "chamberlain", &mut script);
        context.out.raw(&String::from_utf8_lossy(&script))
    }
}
