//! The sink that is a variable of GitLab CI/CD, protected and masked.
//!
//! Both flags are asked for in the same write as the key, and looked at after it: a key in a
//! variable that jobs print, or that any branch can read, is a leak. A protected variable is absent
//! on unprotected branches; jobs there must do without.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::sink::fault::{Effect, Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::Gitlab;
use chamberlain_vault::parcel::Parcel;
use http::{HeaderName, Method, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::Sink;
use super::host::{Host, Line, Question};
use crate::web::Web;

const HOST: &str = "GitLab";

const PROTECTED: &str = "a protected variable is absent on branches and tags that are not \
                         protected: jobs there run without it";

/// A variable of GitLab CI/CD.
pub(super) struct GitlabSink {
    to: Gitlab,
    host: Host,
    within: Duration,
}

/// A variable as GitLab shows it.
#[derive(Deserialize)]
struct Variable {
    key: String,
    /// `None` where it is hidden.
    value: Option<String>,
    protected: bool,
    masked: bool,
    environment_scope: String,
}

impl Drop for Variable {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// A variable as it is written.
#[derive(Serialize)]
struct Written<'a> {
    key: &'a str,
    value: &'a str,
    variable_type: &'a str,
    environment_scope: &'a str,
    protected: bool,
    masked: bool,
    raw: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Filter<'a>>,
}

#[derive(Serialize)]
struct Filter<'a> {
    environment_scope: &'a str,
}

impl GitlabSink {
    pub(super) fn new(to: Gitlab, web: Arc<dyn Web>, within: Duration) -> GitlabSink {
        let host = Host {
            name: HOST,
            api: to.api.clone(),
            token_file: to.token_file.clone(),
            token_header: (HeaderName::from_static("private-token"), ""),
            headers: &[],
            web,
        };
        GitlabSink { to, host, within }
    }

    fn project(&self) -> String {
        format!("/projects/{}", self.to.project.replace('/', "%2F"))
    }

    fn one(&self) -> String {
        let scope: String = self.to.scope.bytes().fold(String::new(), |mut text, byte| {
            match byte.is_ascii_alphanumeric() {
                true => text.push(char::from(byte)),
                false => text.push_str(&format!("%{byte:02X}")),
            }
            text
        });
        let (project, variable) = (self.project(), &self.to.variable);
        format!("{project}/variables/{variable}?filter%5Benvironment_scope%5D={scope}")
    }

    /// The variable; `None` where there is none. That the project is there is looked at first, for
    /// both answer 404.
    fn variable(&self, line: &Line<'_>) -> Result<Option<Variable>, SinkFault> {
        let step = "show the variable";
        let said = line.ask(Question::get(step, self.one()))?;
        if said.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !said.status.is_success() {
            return Err(said.fault(HOST, step, false));
        }
        let variable: Variable = said.read(HOST, step)?;
        let to = &self.to;
        if (variable.key.as_str(), variable.environment_scope.as_str())
            != (to.variable.as_str(), to.scope.as_str())
        {
            return Err(SinkFault::refused(
                format!("{HOST} shows another variable than {} for {}", to.variable, to.scope),
                "check the names; this GitLab may be too old to tell scopes apart",
            ));
        }
        Ok(Some(variable))
    }

    fn reach(&self, line: &Line<'_>) -> Result<(), SinkFault> {
        line.must(Question::get("show the project", self.project())).map(drop)
    }

    fn write(&self, line: &Line<'_>, parcel: &Parcel<'_>, is_there: bool) -> Result<(), SinkFault> {
        let to = &self.to;
        let value = std::str::from_utf8(parcel.expose_to_sink())
            .map_err(|_| SinkFault::refused("the key is no text", "deliver another key"))?;
        let written = Written {
            key: &to.variable,
            value,
            variable_type: "env_var",
            environment_scope: &to.scope,
            protected: true,
            masked: true,
            // Nothing in a key is another variable's name.
            raw: true,
            filter: is_there.then_some(Filter { environment_scope: &to.scope }),
        };
        let mut body = Zeroizing::new(Vec::with_capacity(1_024 + 2 * value.len()));
        serde_json::to_writer(&mut *body, &written)
            .map_err(|error| SinkFault::refused(error.to_string(), "check the names"))?;
        let (method, path) = match is_there {
            true => (Method::PUT, self.one()),
            false => (Method::POST, format!("{}/variables", self.project())),
        };
        line.must(Question { step: "write the variable", method, path, body: Some(body) }).map(drop)
    }

    /// What is there must be what was written, with both flags.
    fn seen(&self, line: &Line<'_>, parcel: &Parcel<'_>) -> Result<(), SinkFault> {
        let found = self.variable(line).map_err(|fault| fault.with(Effect::Unknown))?;
        let variable = &self.to.variable;
        let says = |what: &str, effect: Effect| {
            let message = format!("{HOST} says that it took {variable}, but {what}");
            let hint = "look at the project's variables; a key in one that is not protected and \
                        masked has to be replaced";
            Err(SinkFault::refused(message, hint).with(effect))
        };
        match found {
            None => says("does not list it", Effect::Unknown),
            Some(found)
                if found.value.as_ref().is_some_and(|value| !parcel.is(value.as_bytes())) =>
            {
                says("it has another value", Effect::Unknown)
            }
            Some(found) => match (found.protected, found.masked) {
                (true, true) => Ok(()),
                (false, true) => says("it is not protected", Effect::Done),
                (true, false) => says("it is not masked", Effect::Done),
                (false, false) => says("it is neither protected nor masked", Effect::Done),
            },
        }
    }
}

impl Sink for GitlabSink {
    fn check(&self) -> Result<Vec<String>, SinkFault> {
        let line = self.host.line(self.within)?;
        self.reach(&line)?;
        let variable = &self.to.variable;
        let mut notes = vec![PROTECTED.to_owned()];
        match self.variable(&line)? {
            None => notes.push(format!("{variable} is not there yet; a delivery makes it")),
            Some(found) if !(found.protected && found.masked) => {
                notes.push(format!(
                    "{variable} is not protected and masked; a delivery makes it so"
                ));
            }
            Some(_) => {}
        }
        Ok(notes)
    }

    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        let line = self.host.line(self.within)?;
        self.reach(&line)?;
        let before = self.variable(&line)?;
        let notes = vec![PROTECTED.to_owned()];
        let mark = "protected, masked".to_owned();
        if let Some(before) = &before
            && before.value.as_ref().is_some_and(|value| parcel.is(value.as_bytes()))
            && before.protected
            && before.masked
        {
            return Ok(Receipt { mark, was_there: true, notes });
        }
        self.write(&line, parcel, before.is_some())?;
        self.seen(&line, parcel)?;
        Ok(Receipt { mark, was_there: false, notes })
    }

    fn verify(&self, parcel: &Parcel<'_>, _mark: Option<&str>) -> Result<Standing, SinkFault> {
        let line = self.host.line(self.within)?;
        self.reach(&line)?;
        let name = &self.to.variable;
        let Some(found) = self.variable(&line)? else {
            return Ok(Standing::Differs(format!("{name} is not there")));
        };
        if !found.protected || !found.masked {
            return Ok(Standing::Differs(format!("{name} is not protected and masked")));
        }
        Ok(match &found.value {
            Some(value) if parcel.is(value.as_bytes()) => Standing::Holds,
            Some(_) => Standing::Differs(format!("{name} has another value")),
            None => Standing::Unknown(format!("{name} is hidden, so its value cannot be seen")),
        })
    }
}
