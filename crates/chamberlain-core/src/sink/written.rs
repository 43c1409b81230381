//! A `[sinks.NAME]` table as it was written, and what it means.
//!
//! Every kind of sink has its own words. One that belongs to another kind is a mistake, not a
//! thing to be passed over: whoever wrote it believes that it does something.

use serde::Deserialize;

use super::hook;
use super::names;
use super::settings::{
    Apply, EnvFile, FollowUp, Github, Gitlab, HEALTH_TIMEOUT_MS, Health, HealthShows, Kubernetes,
    Program, SinkSettings, TIMEOUT_MS, Takes, Target,
};
use crate::id::EnvironmentName;
use crate::secret::redact;

/// What is wrong with a table, and which word of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{word}`: {what}")]
pub struct WrongSink {
    /// The word.
    pub word: &'static str,
    /// What is wrong with it.
    pub what: String,
}

fn wrong<T>(word: &'static str, what: impl Into<String>) -> Result<T, WrongSink> {
    Err(WrongSink { word, what: what.into() })
}

/// What a sink is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A line in a file.
    EnvFile,
    /// A command's standard input.
    Command,
    /// A secret of GitHub Actions.
    Github,
    /// A variable of GitLab CI/CD.
    Gitlab,
    /// A Kubernetes Secret.
    Kubernetes,
}

/// Which keys it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakesWord {
    /// Both.
    Any,
    /// Virtual keys only.
    Virtual,
}

/// What a health command shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShowsWord {
    /// Its exit code.
    Exit,
    /// The SHA-256 of the key in use.
    Sha256,
}

/// A table as it was written; `docs/sinks.md` says what each word means.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the words of the configuration, explained in docs/sinks.md")]
pub struct WrittenSink {
    pub kind: Kind,
    pub environment: String,
    pub takes: Option<TakesWord>,
    pub timeout: Option<String>,
    pub pass_environment: Option<Vec<String>>,
    pub recreate: Option<Vec<String>>,
    pub health: Option<Vec<String>>,
    pub health_shows: Option<ShowsWord>,
    pub health_timeout: Option<String>,
    pub variable: Option<String>,
    pub path: Option<String>,
    pub owner: Option<String>,
    pub command: Option<Vec<String>>,
    pub api: Option<String>,
    pub repository: Option<String>,
    pub deployment: Option<String>,
    pub project: Option<String>,
    pub scope: Option<String>,
    pub token_file: Option<String>,
    pub namespace: Option<String>,
    pub secret: Option<String>,
}

impl WrittenSink {
    /// What it means.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn resolve(self, name: &str) -> Result<SinkSettings, WrongSink> {
        named("sinks", names::sink(name))?;
        self.refuse_foreign()?;
        let follow_up = self.follow_up()?;
        let target = match self.kind {
            Kind::EnvFile => Target::EnvFile(self.env_file()?),
            Kind::Command => Target::Command(self.program("command", self.command.as_ref())?),
            Kind::Github => Target::Github(self.github()?),
            Kind::Gitlab => Target::Gitlab(self.gitlab()?),
            Kind::Kubernetes => Target::Kubernetes(self.kubernetes()?),
        };
        let takes = match self.takes {
            Some(TakesWord::Any) => Takes::Any,
            Some(TakesWord::Virtual) => Takes::Virtual,
            // A development machine has no business with an upstream key.
            None if self.environment == "development" => Takes::Virtual,
            None => Takes::Any,
        };
        Ok(SinkSettings {
            name: name.to_owned(),
            takes,
            target,
            follow_up,
            timeout_ms: duration("timeout", self.timeout.as_deref(), TIMEOUT_MS)?,
            environment: EnvironmentName::new(self.environment),
        })
    }

    /// A word of another kind.
    fn refuse_foreign(&self) -> Result<(), WrongSink> {
        use Kind::{Command, EnvFile, Github, Gitlab, Kubernetes};
        let words: [(&'static str, bool, &[Kind]); 11] = [
            ("variable", self.variable.is_some(), &[EnvFile, Gitlab, Kubernetes]),
            ("path", self.path.is_some(), &[EnvFile, Kubernetes]),
            ("owner", self.owner.is_some(), &[EnvFile]),
            ("command", self.command.is_some(), &[Command, Kubernetes]),
            ("api", self.api.is_some(), &[Github, Gitlab]),
            ("repository", self.repository.is_some(), &[Github]),
            ("deployment", self.deployment.is_some(), &[Github]),
            ("project", self.project.is_some(), &[Gitlab]),
            ("scope", self.scope.is_some(), &[Gitlab]),
            ("token_file", self.token_file.is_some(), &[Github, Gitlab]),
            ("namespace", self.namespace.is_some(), &[Kubernetes]),
        ];
        for (word, is_written, kinds) in words {
            if is_written && !kinds.contains(&self.kind) {
                return wrong(word, "it means nothing for a sink of this kind; remove it");
            }
        }
        if self.secret.is_some() && !matches!(self.kind, Github | Kubernetes) {
            return wrong("secret", "it means nothing for a sink of this kind; remove it");
        }
        Ok(())
    }

    fn env_file(&self) -> Result<EnvFile, WrongSink> {
        let owner = self.owner.clone().map(|owner| checked("owner", owner, names::owner));
        Ok(EnvFile {
            path: needed("path", self.path.as_ref(), names::path)?,
            variable: needed("variable", self.variable.as_ref(), names::variable)?,
            owner: owner.transpose()?,
        })
    }

    fn github(&self) -> Result<Github, WrongSink> {
        let api = self.api.clone().unwrap_or_else(|| "https://api.github.com".to_owned());
        let deployment = self.deployment.clone();
        let one_name = |name: &str| match name.is_empty() || name.contains(['/', '%', '?', '#']) {
            true => Err(format!("{name:?} cannot name an environment of GitHub's here")),
            false => Ok(()),
        };
        Ok(Github {
            api: checked("api", api, names::api)?,
            repository: needed("repository", self.repository.as_ref(), names::repository)?,
            deployment: deployment.map(|name| checked("deployment", name, one_name)).transpose()?,
            secret: needed("secret", self.secret.as_ref(), names::github_secret)?,
            token_file: needed("token_file", self.token_file.as_ref(), names::path)?,
        })
    }

    fn gitlab(&self) -> Result<Gitlab, WrongSink> {
        let api = self.api.clone().unwrap_or_else(|| "https://gitlab.com/api/v4".to_owned());
        let scope = self.scope.clone().unwrap_or_else(|| "*".to_owned());
        let one_scope = |scope: &str| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"-_/*. ".contains(&b);
            match !scope.is_empty() && scope.len() <= 255 && scope.bytes().all(good) {
                true => Ok(()),
                false => Err(format!("{scope:?} is not a scope like \"production\" or \"*\"")),
            }
        };
        Ok(Gitlab {
            api: checked("api", api, names::api)?,
            project: needed("project", self.project.as_ref(), names::project)?,
            scope: checked("scope", scope, one_scope)?,
            variable: needed("variable", self.variable.as_ref(), names::variable)?,
            token_file: needed("token_file", self.token_file.as_ref(), names::path)?,
        })
    }

    fn kubernetes(&self) -> Result<Kubernetes, WrongSink> {
        let namespace = self.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let by = match (&self.path, &self.command) {
            (Some(path), None) => Apply::File(checked("path", path.clone(), names::path)?),
            (None, Some(_)) => Apply::Command(self.program("command", self.command.as_ref())?),
            _ => return wrong("path", "write either the manifest's file or `command`, not both"),
        };
        Ok(Kubernetes {
            namespace: checked("namespace", namespace, names::namespace)?,
            secret: needed("secret", self.secret.as_ref(), names::kubernetes)?,
            entry: needed("variable", self.variable.as_ref(), names::variable)?,
            by,
        })
    }

    fn follow_up(&self) -> Result<FollowUp, WrongSink> {
        let recreate = self.recreate.as_ref();
        let recreate = recreate.map(|_| self.program("recreate", recreate)).transpose()?;
        if let Some(program) = &recreate {
            let kept = hook::takes_up(&program.command);
            named("recreate", kept.map_err(|keeps_old_key| keeps_old_key.to_string()))?;
        }
        if self.health.is_none() && (self.health_shows.is_some() || self.health_timeout.is_some()) {
            return wrong("health", "it is missing, and how it is asked is written");
        }
        let timeout_ms =
            duration("health_timeout", self.health_timeout.as_deref(), HEALTH_TIMEOUT_MS)?;
        let shows = match self.health_shows {
            Some(ShowsWord::Sha256) => HealthShows::Sha256,
            Some(ShowsWord::Exit) | None => HealthShows::Exit,
        };
        let health = self.health.as_ref().map(|_| {
            let program = self.program("health", self.health.as_ref())?;
            Ok(Health { program, shows, timeout_ms })
        });
        Ok(FollowUp { recreate, health: health.transpose()? })
    }

    fn program(
        &self,
        word: &'static str,
        command: Option<&Vec<String>>,
    ) -> Result<Program, WrongSink> {
        let Some(command) = command else { return wrong(word, "it is missing") };
        let Some(program) = command.first() else { return wrong(word, "it is empty") };
        named(word, names::path(program))?;
        if command.iter().any(|argument| redact(argument) != argument.as_str()) {
            let what = "there is a key in it, and others can see a command line; keys go by stdin";
            return wrong(word, what);
        }
        if command.iter().any(|argument| argument.contains('\0')) {
            return wrong(word, "there is a zero byte in it");
        }
        let pass_environment = self.pass_environment.clone().unwrap_or_default();
        for name in &pass_environment {
            named("pass_environment", names::variable(name))?;
            if name.starts_with("CHAMBERLAIN_") || name == "ANTHROPIC_API_KEY" {
                return wrong("pass_environment", format!("{name} is not handed on"));
            }
        }
        Ok(Program { command: command.clone(), pass_environment })
    }
}

fn named(word: &'static str, checked: Result<(), String>) -> Result<(), WrongSink> {
    checked.map_err(|what| WrongSink { word, what })
}

fn checked(
    word: &'static str,
    text: String,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, WrongSink> {
    named(word, check(&text)).map(|()| text)
}

fn needed(
    word: &'static str,
    text: Option<&String>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, WrongSink> {
    match text {
        Some(text) => checked(word, text.clone(), check),
        None => wrong(word, "it is missing"),
    }
}

/// Reads `500ms`, `30s` or `5m`, within a second and the longest, in milliseconds.
fn duration(
    word: &'static str,
    text: Option<&str>,
    (longest, preset): (u64, u64),
) -> Result<u64, WrongSink> {
    let Some(text) = text else { return Ok(preset) };
    let read = [("ms", 1), ("s", 1_000), ("m", 60_000)].into_iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        number.checked_mul(factor)
    });
    match read {
        Some(ms) if (100..=longest).contains(&ms) => Ok(ms),
        _ => {
            let seconds = longest / 1_000;
            wrong(word, format!("{text:?} is not a time like \"30s\", up to {seconds} s"))
        }
    }
}

#[cfg(test)]
mod tests;
