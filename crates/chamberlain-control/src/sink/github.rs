//! The sink that is a secret of GitHub Actions.
//!
//! GitHub takes a value sealed for the repository's public key and never gives it back. What can be
//! seen is when the secret was last updated: a delivery counts only when that is listed anew, and
//! later shows whether somebody else has changed it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chamberlain_core::sink::fault::{Effect, Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::Github;
use chamberlain_core::time::{Entropy, Timestamp};
use chamberlain_vault::parcel::Parcel;
use chamberlain_vault::sealed_box;
use http::{Method, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Sink;
use super::host::{Host, Line, Question};
use crate::web::Web;

const HOST: &str = "GitHub";

/// The list may be a moment behind.
const LOOKS: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(500);

const HEADERS: &[(&str, &str)] = &[("x-github-api-version", "2022-11-28")];

/// A secret of GitHub Actions.
pub(super) struct GithubSink {
    to: Github,
    host: Host,
    entropy: Arc<dyn Entropy>,
    within: Duration,
}

#[derive(Deserialize)]
struct PublicKey {
    key_id: String,
    key: String,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    updated_at: String,
}

impl GithubSink {
    pub(super) fn new(
        to: Github,
        web: Arc<dyn Web>,
        entropy: Arc<dyn Entropy>,
        within: Duration,
    ) -> GithubSink {
        let host = Host {
            name: HOST,
            api: to.api.clone(),
            token_file: to.token_file.clone(),
            token_header: (header::AUTHORIZATION, "Bearer "),
            headers: HEADERS,
            web,
        };
        GithubSink { to, host, entropy, within }
    }

    /// Where the secrets are.
    fn path(&self, rest: &str) -> String {
        let repository = &self.to.repository;
        match &self.to.deployment {
            None => format!("/repos/{repository}/actions/secrets/{rest}"),
            Some(deployment) => {
                let deployment = deployment.replace(' ', "%20");
                format!("/repos/{repository}/environments/{deployment}/secrets/{rest}")
            }
        }
    }

    fn public_key(&self, line: &Line<'_>) -> Result<(String, [u8; 32]), SinkFault> {
        let step = "give its public key";
        let said = line.must(Question::get(step, self.path("public-key")))?;
        let found: PublicKey = said.read(HOST, step)?;
        let bytes = BASE64.decode(&found.key).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| {
            SinkFault::refused(
                format!("{HOST} gave a public key that is none"),
                "check that the address is that of its API",
            )
        })?;
        Ok((found.key_id, bytes))
    }

    /// When the secret was last updated; `None` where there is none.
    fn updated_at(&self, line: &Line<'_>) -> Result<Option<String>, SinkFault> {
        let step = "show the secret";
        let said = line.ask(Question::get(step, self.path(&self.to.secret)))?;
        if said.status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !said.status.is_success() {
            return Err(said.fault(HOST, step, false));
        }
        let listed: Listed = said.read(HOST, step)?;
        if listed.name != self.to.secret {
            return Err(SinkFault::refused(
                format!("{HOST} shows {:?} when asked for {:?}", listed.name, self.to.secret),
                "write the name as GitHub lists it",
            ));
        }
        Ok(Some(listed.updated_at))
    }

    fn write(
        &self,
        line: &Line<'_>,
        parcel: &Parcel<'_>,
        (key_id, public): (String, [u8; 32]),
    ) -> Result<Option<Timestamp>, SinkFault> {
        let sealed = sealed_box::seal(public, parcel, self.entropy.as_ref());
        let body = serde_json::json!({
            "encrypted_value": BASE64.encode(sealed),
            "key_id": key_id,
        });
        let said = line.must(Question {
            step: "write the secret",
            method: Method::PUT,
            path: self.path(&self.to.secret),
            body: Some(Zeroizing::new(body.to_string().into_bytes())),
        })?;
        let date = said.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(Timestamp::from_http_date))
    }

    /// Looks until the secret is listed as updated by what was written.
    fn seen(
        &self,
        line: &Line<'_>,
        before: Option<&str>,
        written: Option<Timestamp>,
    ) -> Result<String, SinkFault> {
        for look in 1..=LOOKS {
            let now = self.updated_at(line).map_err(|fault| fault.with(Effect::Unknown))?;
            match now {
                Some(now) if is_new(before, &now, written) => return Ok(now),
                _ if look < LOOKS => std::thread::sleep(LOOK_EVERY),
                _ => {}
            }
        }
        let fault = SinkFault::passing(
            format!("{HOST} says that it took {}, but does not list it as updated", self.to.secret),
            "look at the repository's secrets; it is tried again later",
        );
        Err(fault.with(Effect::Unknown))
    }
}

/// Whether a listed time is that of what was written. Times are whole seconds, so two deliveries in
/// one second have the same; and the answer may be of the second after.
fn is_new(before: Option<&str>, now: &str, written: Option<Timestamp>) -> bool {
    if before != Some(now) {
        return true;
    }
    let listed = Timestamp::from_rfc3339(now).ok();
    listed.zip(written).is_some_and(|(listed, written)| listed.plus_ms(1_000) >= written)
}

impl Sink for GithubSink {
    fn check(&self) -> Result<Vec<String>, SinkFault> {
        let line = self.host.line(self.within)?;
        self.public_key(&line)?;
        let before = self.updated_at(&line)?;
        let secret = &self.to.secret;
        Ok(vec![match before {
            Some(at) => format!("{secret} was last updated at {at}"),
            None => format!("{secret} is not there yet; a delivery makes it"),
        }])
    }

    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        let line = self.host.line(self.within)?;
        let key = self.public_key(&line)?;
        let before = self.updated_at(&line)?;
        let written = self.write(&line, parcel, key)?;
        let mark = self.seen(&line, before.as_deref(), written)?;
        let notes =
            vec!["GitHub never shows a value: only a job can prove that it works".to_owned()];
        Ok(Receipt { mark, was_there: false, notes })
    }

    fn verify(&self, _parcel: &Parcel<'_>, mark: Option<&str>) -> Result<Standing, SinkFault> {
        let line = self.host.line(self.within)?;
        let secret = &self.to.secret;
        Ok(match (self.updated_at(&line)?, mark) {
            (None, _) => Standing::Differs(format!("{secret} is not there")),
            (Some(now), Some(mark)) if now == mark => Standing::Untouched,
            (Some(now), Some(_)) => {
                Standing::Differs(format!("somebody else updated {secret} at {now}"))
            }
            (Some(_), None) => Standing::Unknown("no delivery of this key is on record".to_owned()),
        })
    }
}
