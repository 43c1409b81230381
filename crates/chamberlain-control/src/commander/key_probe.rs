//! Asks upstream whether a key works: first for nothing, then, unless that is enough, with a call of
//! ten tokens. Both are on record, the one that costs money before it is sent.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::ledger::price::Lifecycle;
use chamberlain_store::Facts;
use serde_json::json;

use super::{Commander, from_store, keys};
use crate::command::KeyVerify;
use crate::error::CommandError;
use crate::prober::{Probed, Prober, Verdict};
use crate::reply::{KeyVerdict, KeyVerified, ProbeLine};
use crate::scope;

/// Asked when it has a price: the cheapest one today.
const MODEL: &str = "claude-haiku-5-5";

impl Commander {
    pub(super) fn key_verify(
        &self,
        actor: &Principal,
        asked: &KeyVerify,
    ) -> Result<KeyVerified, CommandError> {
        let house = self.house()?;
        let row = scope::upstream_key(&asked.key, &house)?.clone();
        let model = match asked.free {
            true => None,
            false => Some(self.model_for(asked.model.as_deref())?),
        };
        let key = self.open_key(&row.id)?;
        let base = self.settings.read().settings.upstream_url.clone();
        let prober = Prober {
            web: self.web.as_ref(),
            base: &base,
            fingerprint_of: &|value| self.vault.fingerprint_of_header(value),
        };
        let subject = keys::subject(&row.id);
        let mut probes = vec![("free", prober.free(&key))];
        if let Some(model) = model.as_deref().filter(|_| probes[0].1.verdict == Verdict::Works) {
            self.probe_on_record(
                actor,
                "upstream_key.probe_begun",
                &subject,
                json!({ "model": model, "max_tokens": 10 }),
            )?;
            probes.push(("paid", prober.paid(&key, model)));
        }
        let stray =
            probes.iter().find(|(_, probed)| probed.fingerprint.as_str() != row.fingerprint);
        let lines: Vec<ProbeLine> =
            probes.iter().map(|(name, probed)| line(name, probed)).collect();
        let verdict = lines.last().map_or(KeyVerdict::Unknown, |line| line.verdict);
        let usage = probes.last().and_then(|(_, probed)| probed.usage.clone());
        self.probe_on_record(
            actor,
            "upstream_key.verified",
            &subject,
            json!({
                "fingerprint": row.fingerprint, "verdict": verdict, "probes": lines, "usage": usage,
            }),
        )?;
        if let Some((_, stray)) = stray {
            return Err(CommandError::failed(format!(
                "the probe left with the key {} and {:?} is {}: nothing was learned about it",
                stray.fingerprint, row.name, row.fingerprint
            ))
            .hint("please report this; do not switch off any key on the word of this probe"));
        }
        Ok(KeyVerified {
            key: row.id.to_string(),
            name: row.name,
            fingerprint: row.fingerprint,
            verdict,
            probes: lines,
            model,
        })
    }

    fn probe_on_record(
        &self,
        actor: &Principal,
        kind: &'static str,
        subject: &str,
        after: serde_json::Value,
    ) -> Result<(), CommandError> {
        let facts = Facts { after: Some(after), ..Facts::default() };
        let subject = subject.to_owned();
        let done = self
            .store
            .change(actor.clone(), move |change| change.audit(kind, &subject, &facts).map(drop));
        done.map_err(from_store)
    }

    fn model_for(&self, asked: Option<&str>) -> Result<String, CommandError> {
        let ruling = self.settings.read().clone();
        let (prices, now) = (&ruling.settings.prices, self.now());
        let name = asked.unwrap_or(MODEL);
        match prices.model(name) {
            Some(model) if prices.lifecycle(model, now) != Lifecycle::Retired => {
                Ok(name.to_owned())
            }
            Some(_) => Err(CommandError::usage(format!("{name} is retired"))
                .hint("name another with --model; chamberlain prices lists them")),
            None => Err(CommandError::usage(format!("there is no price for {name}"))
                .hint("name another with --model; chamberlain prices lists them")),
        }
    }
}

fn line(name: &str, probed: &Probed) -> ProbeLine {
    let (verdict, message) = match &probed.verdict {
        Verdict::Works => (KeyVerdict::Works, None),
        Verdict::Dead(why) => (KeyVerdict::Dead, Some(why.clone())),
        Verdict::Forbidden(why) => (KeyVerdict::Forbidden, Some(why.clone())),
        Verdict::Unknown(why) => (KeyVerdict::Unknown, Some(why.clone())),
    };
    ProbeLine {
        probe: name.to_owned(),
        verdict,
        message,
        status: probed.status,
        request_id: probed.request_id.clone(),
    }
}
