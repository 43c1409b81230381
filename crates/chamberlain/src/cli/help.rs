//! `chamberlain help`: help on commands, and on topics that belong to all of them.

use clap::Args;

use super::context::Context;
use crate::failure::Failure;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something went wrong
  2    the command line or the configuration is wrong; nothing was done
  3    a check found a problem (config check, audit verify, doctor, a damaged backup)
  4    not allowed to you, or not with this key
  5    what was named does not exist
  6    it contradicts what is there, or somebody else holds it
  7    the server, the store or the vault cannot be used now
  8    a backup is too old to be put back without --accept-stale
  9    a backup is of another house
  130  interrupted";

/// Help on a command or a topic
#[derive(Args, Debug)]
pub(crate) struct Help {
    /// A command (`virtual create`) or the topic `exit-codes`
    words: Vec<String>,
}

impl Help {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        if self.words == ["exit-codes"] {
            return context.out.line(EXIT_CODES);
        }
        let mut command = super::grammar();
        command.build();
        let mut named = &mut command;
        for word in &self.words {
            if named.find_subcommand(word).is_none() {
                let names = named.get_subcommands().map(clap::Command::get_name);
                let near = crate::config::suggest::nearest(word, names);
                let hint = near.map_or_else(
                    || "`chamberlain help` lists the commands; `exit-codes` is a topic".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                );
                return Err(Failure::usage(format!("there is no command {word:?}")).hint(hint));
            }
            named = named.find_subcommand_mut(word).expect("it was found a moment ago");
        }
        let help = named.render_help();
        match context.out.terminal {
            true => context.out.raw(&help.ansi().to_string()),
            false => context.out.raw(&help.to_string()),
        }
    }
}
