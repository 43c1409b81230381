//! The first virtual key, and what a newcomer is shown.

use chamberlain_control::command::{VirtualCreate, VirtualList};
use chamberlain_control::door::{self, Inside};
use chamberlain_control::reply::VirtualCreated;
use chamberlain_core::secret::Secret;
use serde_json::json;

use crate::config::settings::Config;
use crate::failure::Failure;
use crate::out::Out;

/// Where the first key belongs: the environment for trying things out.
const ENVIRONMENT: &str = "development";

/// Its own request limit, so that trying things out is not held to development's two a minute.
/// Its money is development's.
const REQUESTS_PER_MINUTE: u64 = 600;

/// Makes the first virtual key when there never was one.
pub(super) fn make(inside: &Inside, config: &Config) -> Result<Option<VirtualCreated>, Failure> {
    let known = door::ask(inside, VirtualList { environment: None, all: true })?;
    let environments = &config.settings.environments;
    let development =
        environments.iter().find(|environment| environment.name.as_str() == ENVIRONMENT);
    let Some(environment) = development.or(environments.first()) else { return Ok(None) };
    // Under systemd what is shown goes to the journal, which keeps it; a key must not be kept.
    let is_logged = std::env::var_os("JOURNAL_STREAM").is_some();
    if !known.keys.is_empty() || is_logged {
        return Ok(None);
    }
    let asked = VirtualCreate {
        name: "first".to_owned(),
        environment: environment.name.to_string(),
        rpm: Some(REQUESTS_PER_MINUTE),
        ..VirtualCreate::default()
    };
    Ok(Some(door::ask(inside, asked)?))
}

/// What is shown when everything is ready.
pub(super) struct Ready<'a> {
    pub(super) gateway: &'a str,
    pub(super) console: &'a str,
    pub(super) data: &'a str,
    /// `None` for the mock.
    pub(super) upstream: Option<&'a str>,
    pub(super) first: Option<&'a Secret>,
}

impl Ready<'_> {
    /// One JSON object, or a page for people.
    pub(super) fn show(&self, out: &Out) -> Result<(), Failure> {
        if out.json {
            return out.value(&json!({
                "gateway": self.gateway,
                "console": self.console,
                "data": self.data,
                "virtual_key": self.first.map(Secret::expose),
                "upstream": self.upstream.unwrap_or("mock"),
                "version": env!("CARGO_PKG_VERSION"),
            }));
        }
        out.raw(&self.page())
    }

    fn page(&self) -> String {
        let Ready { gateway, console, data, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        let upstream = self.upstream.unwrap_or(
            "the built-in mock, because no Anthropic key was given:\n            nothing is sent to \
             Anthropic and nothing is spent",
        );
        let head = format!(
            "Chamberlain {version} is up.\n\n  gateway   {gateway}\n  console   {console}\n  data      \
             {data}\n  upstream  {upstream}\n"
        );
        format!("{head}{}{}", self.trial(), self.next())
    }

    /// What can be pasted. The Python stands at the left edge: indented, it would not run.
    fn trial(&self) -> String {
        let Some(key) = self.first else { return String::new() };
        let (gateway, key) = (self.gateway, key.expose());
        format!(
            r#"
Your first virtual key. It is shown this once; it belongs to the environment development:

  {key}

Try it with curl:

  curl {gateway}/v1/messages \
    -H 'x-api-key: {key}' \
    -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
    -d '{{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{{"role":"user","content":"Hello"}}]}}'

or with the official Python SDK (pip install anthropic):

import anthropic
client = anthropic.Anthropic(
    base_url="{gateway}",
    api_key="{key}",
)
message = client.messages.create(
    model="claude-haiku-5-5",
    max_tokens=64,
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(message.content[0].text)
"#
        )
    }

    fn next(&self) -> String {
        let real = match self.upstream {
            Some(_) => "",
            None => {
                "  chamberlain key add --name main    seal your Anthropic key; then start again\n"
            }
        };
        format!(
            "\nThen, in another terminal:\n\n  chamberlain calls                  what was called\n  \
             chamberlain cost today             what it cost\n  chamberlain status                 \
             how things are\n{real}\nCtrl-C ends it.\n"
        )
    }
}
