//! `chamberlain up`: start, with nothing configured.

use clap::Args;

use super::context::Context;
use crate::failure::Failure;
use crate::serve::up;

const EXAMPLES: &str = "\
Examples:
  chamberlain up                                     a first try, answered by the built-in mock
  ANTHROPIC_API_KEY=… chamberlain up                 the same, with Anthropic
  chamberlain up --listen 0.0.0.0:8787               for other machines (put TLS in front)
  chamberlain up --data DIR --listen 127.0.0.1:0 --console 127.0.0.1:0 --json";

const AFTER: &str = "\
The key in ANTHROPIC_API_KEY is sealed into the vault once and need not be given again.
SIGTERM or Ctrl-C lets calls in flight end; a second one stops at once. SIGHUP reads the
configuration again. With --json, one JSON object on stdout says when it is ready:
gateway, console, data, virtual_key (at the first start only), upstream, version.";

/// Start Chamberlain
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES, after_help = AFTER)]
pub(crate) struct Up {
    /// Where clients call (default: 127.0.0.1:8787)
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where the console is (default: 127.0.0.1:8788)
    #[arg(long, value_name = "HOST:PORT")]
    console: Option<String>,
    /// Where calls go (Anthropic, or the mock without a key)
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The clock is right now, although budgets were counted in a window that is yet to come
    #[arg(long)]
    accept_clock: bool,
}

impl Up {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let flags = [
            ("--listen", "server.listen", self.listen),
            ("--console", "server.console", self.console),
            ("--upstream", "upstream.url", self.upstream),
        ];
        let given = flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
        up::run(context, given.collect(), self.accept_clock)
    }
}
