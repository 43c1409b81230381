//! Commands about sinks: where keys are delivered to.
//!
//! A delivery is an intent on record, the effect, and its result on record. No lock is held while a
//! sink is at work, so that a sink that hangs keeps nobody from freezing, removing or replacing a
//! key; only a second delivery to the same sink waits its turn by being refused.

use chamberlain_core::admission::key::{KeyState, PresentedKey};
use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::sink::admit::{self, KeyKind};
use chamberlain_core::sink::fault::{Again, Effect, Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::SinkSettings;
use chamberlain_store::{Change, Facts, NamedKey, SinkRow, UpstreamKeyState};
use chamberlain_vault::keyring::UpstreamSecret;
use chamberlain_vault::parcel::Parcel;
use serde_json::{Value, json};

use super::{Commander, from_store};
use crate::command::{SinkCheck, SinkDeliver, SinkForget};
use crate::error::{CommandError, ErrorCode};
use crate::reply::{SinkChecked, SinkChecks, SinkDelivered, SinkLine, Sinks};
use crate::sink::{self, Sink};
use crate::wire::SecretText;
use crate::{scope, view, virtual_key};

/// A key that is about to be delivered, opened.
enum Cargo {
    Upstream(UpstreamKeyId, Box<UpstreamSecret>),
    Virtual(PresentedKey, SecretText),
}

impl Cargo {
    fn parcel(&self) -> Parcel<'_> {
        match self {
            Cargo::Upstream(_, secret) => secret.parcel(),
            Cargo::Virtual(key, text) => Parcel::of_virtual_key(text.secret(), &key.id),
        }
    }

    fn named(&self) -> NamedKey {
        let key = match self {
            Cargo::Upstream(id, _) => id.to_string(),
            Cargo::Virtual(key, _) => key.id.to_string(),
        };
        NamedKey { key, stands_for: self.parcel().stands_for().to_owned() }
    }
}

/// A sink's turn, until it is dropped.
struct Turn<'a> {
    commander: &'a Commander,
    name: &'a str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.commander.delivering.lock().remove(self.name);
    }
}

impl Commander {
    /// The sink of that name, ready to be called.
    ///
    /// # Errors
    /// When none of that name is configured.
    pub fn sink(&self, name: &str) -> Result<(SinkSettings, Box<dyn Sink>), CommandError> {
        let ruling = self.settings.read().clone();
        let settings = ruling.settings.sink(name).ok_or_else(|| {
            let sinks = &ruling.settings.sinks;
            let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
            CommandError::not_found(format!("there is no sink {name:?}")).hint(match names.len() {
                0 => "none is configured; docs/sinks.md says how".to_owned(),
                _ => format!("there are {}", names.join(", ")),
            })
        })?;
        Ok((settings.clone(), sink::open(settings, &self.web, &self.entropy)))
    }

    /// Delivers an upstream key, with intent and result on record.
    ///
    /// # Errors
    /// When it may not go there, or the sink failed; what that left behind is on record.
    pub fn deliver_upstream_key(
        &self,
        actor: &Principal,
        sink: &str,
        key: &UpstreamKeyId,
    ) -> Result<Receipt, CommandError> {
        let (settings, sink) = self.sink(sink)?;
        let cargo = self.upstream_cargo(&settings, Some(key.as_str()), None)?;
        self.carry(actor, &settings, sink.as_ref(), &cargo, None)
    }

    pub(super) fn sink_list(&self) -> Result<Sinks, CommandError> {
        let (house, rows) = (self.house()?, self.store.sinks().map_err(from_store)?);
        let ruling = self.settings.read().clone();
        let configured = &ruling.settings.sinks;
        let row_of = |name: &str| rows.iter().find(|row| row.name == name);
        let mut sinks: Vec<SinkLine> = configured
            .iter()
            .map(|sink| view::sink(&sink.name, Some(sink), row_of(&sink.name), &house))
            .collect();
        let gone = rows.iter().filter(|row| ruling.settings.sink(&row.name).is_none());
        sinks.extend(gone.map(|row| view::sink(&row.name, None, Some(row), &house)));
        sinks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Sinks { sinks })
    }

    pub(super) fn sink_check(&self, asked: &SinkCheck) -> Result<SinkChecks, CommandError> {
        let names: Vec<String> = match &asked.sink {
            Some(name) => vec![name.clone()],
            None => self.settings().sinks.into_iter().map(|sink| sink.name).collect(),
        };
        let rows = self.store.sinks().map_err(from_store)?;
        let check = |name: String| {
            let (settings, sink) = self.sink(&name)?;
            let row = rows.iter().find(|row| row.name == name);
            Ok(self.checked(&settings, sink.as_ref(), row))
        };
        let sinks = names.into_iter().map(check).collect::<Result<Vec<_>, CommandError>>()?;
        Ok(SinkChecks { sinks })
    }

    fn checked(
        &self,
        settings: &SinkSettings,
        sink: &dyn Sink,
        row: Option<&SinkRow>,
    ) -> SinkChecked {
        let name = settings.name.clone();
        let standing = row.and_then(|row| self.standing(settings, sink, row));
        match sink.check() {
            Ok(notes) => SinkChecked { name, ok: true, problem: None, hint: None, notes, standing },
            Err(fault) => SinkChecked {
                name,
                ok: false,
                problem: Some(fault.message),
                hint: Some(fault.hint),
                notes: Vec::new(),
                standing,
            },
        }
    }

    /// What is in the sink, compared with what was delivered.
    fn standing(
        &self,
        settings: &SinkSettings,
        sink: &dyn Sink,
        row: &SinkRow,
    ) -> Option<Standing> {
        let held = row.held.as_ref()?;
        if row.place != settings.target.place() {
            let was = &row.place;
            return Some(Standing::Unknown(format!("the last delivery went to {was}")));
        }
        let id = UpstreamKeyId::new(held.key.key.as_str());
        let Ok(secret) = self.open_key(&id) else {
            let why = "the key that was delivered is not kept here, or no more".to_owned();
            return Some(Standing::Unknown(why));
        };
        let verified = sink.verify(&secret.parcel(), held.mark.as_deref());
        Some(verified.unwrap_or_else(|fault| Standing::Unknown(fault.message)))
    }

    pub(super) fn sink_deliver(
        &self,
        actor: &Principal,
        asked: SinkDeliver,
    ) -> Result<SinkDelivered, CommandError> {
        let (settings, sink) = self.sink(&asked.sink)?;
        let reason = asked.force_reason.as_deref().map(virtual_key::reason).transpose()?;
        let cargo = match (asked.virtual_key, asked.key) {
            (Some(_), Some(_)) => {
                return Err(CommandError::usage("either an upstream key or a virtual key"));
            }
            (Some(text), None) => self.virtual_cargo(&settings, text)?,
            (None, key) => self.upstream_cargo(&settings, key.as_deref(), reason.as_deref())?,
        };
        let receipt = self.carry(actor, &settings, sink.as_ref(), &cargo, reason)?;
        let line = self.sink_list()?.sinks.into_iter().find(|line| line.name == settings.name);
        let sink = line.ok_or_else(|| CommandError::failed("the sink went away meanwhile"))?;
        Ok(SinkDelivered { sink, was_there: receipt.was_there, notes: receipt.notes })
    }

    /// An upstream key that may go there, opened.
    fn upstream_cargo(
        &self,
        settings: &SinkSettings,
        key: Option<&str>,
        force_reason: Option<&str>,
    ) -> Result<Cargo, CommandError> {
        let house = self.house()?;
        let row = match key {
            Some(key) => scope::upstream_key(key, &house)?,
            None => house.upstream_key_of(&settings.environment).ok_or_else(|| {
                CommandError::not_found(format!("{} has no upstream key", settings.environment))
                    .hint("name one with --key, or give this sink a virtual key")
            })?,
        };
        if row.state == UpstreamKeyState::Revoked {
            return Err(CommandError::conflict(format!("upstream key {} is removed", row.id))
                .hint("a key that is gone is delivered nowhere; name one in use"));
        }
        let kind = KeyKind::Upstream(row.environment.as_ref());
        allowed(settings, kind, force_reason)?;
        let secret = self.open_key(&row.id)?;
        Ok(Cargo::Upstream(row.id.clone(), Box::new(secret)))
    }

    /// A virtual key that may go there and works.
    fn virtual_cargo(
        &self,
        settings: &SinkSettings,
        text: SecretText,
    ) -> Result<Cargo, CommandError> {
        let key = text.presented().ok_or_else(|| {
            CommandError::usage("this has not the form of a virtual key (chm_…)")
                .hint("chamberlain virtual create shows a new one, once")
        })?;
        let house = self.house()?;
        let found =
            house.virtual_key(&key.id).filter(|found| key.opens(found)).ok_or_else(|| {
                CommandError::not_found("this is no virtual key of this Chamberlain")
                    .hint("chamberlain virtual create shows a new one, once")
            })?;
        if found.state != KeyState::Active {
            return Err(CommandError::conflict(format!("virtual key {} is not in use", found.id))
                .hint("chamberlain virtual list shows those that are"));
        }
        allowed(settings, KeyKind::Virtual(&found.environment), None)?;
        Ok(Cargo::Virtual(key, text))
    }

    /// Intent, effect, result.
    fn carry(
        &self,
        actor: &Principal,
        settings: &SinkSettings,
        sink: &dyn Sink,
        cargo: &Cargo,
        reason: Option<String>,
    ) -> Result<Receipt, CommandError> {
        let _turn = self.turn(&settings.name)?;
        let (name, place) = (settings.name.clone(), settings.target.place());
        let (named, kind) = (cargo.named(), settings.target.kind());
        let about = json!({
            "key": named.key, "stands_for": named.stands_for, "kind": kind, "place": place,
        });
        let facts = Facts { reason, before: None, after: Some(about.clone()) };
        self.on_record(actor, "sink.delivery_begun", &name, facts, move |change, name| {
            change.begin_delivery(name, &place, &named)
        })?;
        match sink.deliver(&cargo.parcel()) {
            Ok(receipt) => {
                let mut about = about;
                about["was_there"] = json!(receipt.was_there);
                about["mark"] = json!(receipt.mark);
                let mark = receipt.mark.clone();
                let facts = Facts { after: Some(about), ..Facts::default() };
                self.on_record(actor, "sink.delivered", &name, facts, move |change, name| {
                    change.end_delivery(name, &mark)
                })?;
                Ok(receipt)
            }
            Err(fault) => {
                self.failed(actor, &name, about, &fault)?;
                Err(of_fault(&settings.name, &fault))
            }
        }
    }

    fn failed(
        &self,
        actor: &Principal,
        name: &str,
        mut about: Value,
        fault: &SinkFault,
    ) -> Result<(), CommandError> {
        about["effect"] = json!(fault.effect);
        about["error"] = json!(fault.message);
        tracing::warn!(
            sink = name,
            effect = fault.effect.name(),
            error = fault.message,
            "a delivery to a sink failed"
        );
        let (effect, message) = (fault.effect, fault.message.clone());
        let facts = Facts { after: Some(about), ..Facts::default() };
        self.on_record(actor, "sink.delivery_failed", name, facts, move |change, name| {
            change.fail_delivery(name, effect, &message)
        })
    }

    fn on_record(
        &self,
        actor: &Principal,
        kind: &'static str,
        name: &str,
        facts: Facts,
        work: impl FnOnce(&mut Change<'_>, &str) -> Result<(), chamberlain_store::StoreFault>
        + Send
        + 'static,
    ) -> Result<(), CommandError> {
        let name = name.to_owned();
        let written = self.store.change(actor.clone(), move |change| {
            work(change, &name)?;
            change.audit(kind, &format!("sink:{name}"), &facts).map(drop)
        });
        written.map_err(from_store)
    }

    fn turn<'a>(&'a self, name: &'a str) -> Result<Turn<'a>, CommandError> {
        match self.delivering.lock().insert(name.to_owned()) {
            true => Ok(Turn { commander: self, name }),
            false => {
                Err(CommandError::conflict(format!("sink {name:?} is being delivered to now"))
                    .hint("wait until that has ended; chamberlain sink list shows it"))
            }
        }
    }

    pub(super) fn sink_forget(
        &self,
        actor: &Principal,
        asked: SinkForget,
    ) -> Result<SinkLine, CommandError> {
        let reason = asked.reason.as_deref().map(virtual_key::reason).transpose()?;
        let _turn = self.turn(&asked.sink)?;
        let line = self.sink_list()?.sinks.into_iter().find(|line| line.name == asked.sink);
        let line = line.filter(|line| line.last.is_some()).ok_or_else(|| {
            CommandError::not_found(format!("nothing was delivered to a sink {:?}", asked.sink))
                .hint("chamberlain sink list shows what is on record")
        })?;
        let facts = Facts { reason, before: super::fact(&line), after: None };
        self.on_record(actor, "sink.forgotten", &asked.sink, facts, |change, name| {
            change.forget_sink(name).map(drop)
        })?;
        Ok(line)
    }
}

/// Whether a key may go there, perhaps because somebody with a reason says so.
fn allowed(
    settings: &SinkSettings,
    kind: KeyKind<'_>,
    force_reason: Option<&str>,
) -> Result<(), CommandError> {
    match admit::may_go(settings, kind) {
        Err(not) if !(not.may_be_forced && force_reason.is_some()) => {
            let forced = if not.may_be_forced { "; or --force --reason TEXT" } else { "" };
            Err(CommandError::conflict(not.why).hint(format!("{}{forced}", not.instead)))
        }
        _ => Ok(()),
    }
}

/// What a sink's fault means to whoever asked.
fn of_fault(name: &str, fault: &SinkFault) -> CommandError {
    let left = match fault.effect {
        Effect::Nothing => "the sink is as it was",
        Effect::Done => "the key is in the sink",
        Effect::Unknown => "whether the key is in the sink is not known",
    };
    let code = match fault.again {
        Again::Never => ErrorCode::Failed,
        Again::Later | Again::After(_) => ErrorCode::Unavailable,
    };
    CommandError::new(code, format!("sink {name:?}: {}; {left}", fault.message))
        .hint(fault.hint.clone())
}
