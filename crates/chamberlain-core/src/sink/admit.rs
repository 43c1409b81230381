//! Which key may go into which sink.

use super::masked;
use super::settings::{SinkSettings, Takes, Target};
use crate::id::EnvironmentName;

/// What kind of key is to be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind<'a> {
    /// An upstream key of that environment; `None` for the shared one.
    Upstream(Option<&'a EnvironmentName>),
    /// A virtual key of that environment.
    Virtual(&'a EnvironmentName),
}

/// Why a key may not go there, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotThere {
    /// Why.
    pub why: String,
    /// What to do.
    pub instead: String,
    /// Whether somebody with a reason may do it all the same.
    pub may_be_forced: bool,
}

/// Looks whether a key of that kind may go into the sink.
///
/// # Errors
/// Why not.
pub fn may_go(sink: &SinkSettings, key: KeyKind<'_>) -> Result<(), NotThere> {
    let of = match key {
        KeyKind::Upstream(of) => of,
        KeyKind::Virtual(of) => Some(of),
    };
    if let Some(of) = of
        && *of != sink.environment
    {
        return Err(NotThere {
            why: format!(
                "sink {:?} is for {}, and this key is {of}'s",
                sink.name, sink.environment
            ),
            instead: "an incident in one environment must not become one in another: deliver a \
                      key of the sink's own environment"
                .to_owned(),
            may_be_forced: false,
        });
    }
    if matches!(key, KeyKind::Upstream(_)) && sink.takes == Takes::Virtual {
        return Err(NotThere {
            why: format!(
                "sink {:?} takes virtual keys only, and this is an upstream key",
                sink.name
            ),
            instead: "give it a virtual key: it has its own budget and is stopped in a second \
                      (chamberlain sink deliver NAME --virtual)"
                .to_owned(),
            may_be_forced: true,
        });
    }
    Ok(())
}

/// Looks whether the value of a key can stand in the sink.
///
/// # Errors
/// What is wrong with it, without any part of it.
pub fn value_fits(target: &Target, value: &[u8]) -> Result<(), String> {
    match target {
        Target::Gitlab(_) => masked::is_masked(value)
            .map_err(|what| format!("GitLab would not mask this key in job logs: {what}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::settings::{EnvFile, FollowUp, Target};

    fn sink(environment: &str, takes: Takes) -> SinkSettings {
        SinkSettings {
            name: "app".to_owned(),
            environment: EnvironmentName::new(environment),
            takes,
            target: Target::EnvFile(EnvFile {
                path: "/a/.env".to_owned(),
                variable: "A".to_owned(),
                owner: None,
            }),
            follow_up: FollowUp::default(),
            timeout_ms: 1,
        }
    }

    #[test]
    fn a_key_stays_in_its_environment() {
        let (production, staging) =
            (EnvironmentName::new("production"), EnvironmentName::new("staging"));
        let sink = sink("production", Takes::Any);
        for kind in [KeyKind::Upstream(Some(&staging)), KeyKind::Virtual(&staging)] {
            assert!(!may_go(&sink, kind).unwrap_err().may_be_forced);
        }
        for kind in [
            KeyKind::Upstream(Some(&production)),
            KeyKind::Upstream(None),
            KeyKind::Virtual(&production),
        ] {
            assert_eq!(may_go(&sink, kind), Ok(()));
        }
    }

    #[test]
    fn development_gets_a_virtual_key_unless_it_is_forced() {
        let development = EnvironmentName::new("development");
        let sink = sink("development", Takes::Virtual);
        assert_eq!(may_go(&sink, KeyKind::Virtual(&development)), Ok(()));
        for kind in [KeyKind::Upstream(Some(&development)), KeyKind::Upstream(None)] {
            assert!(may_go(&sink, kind).unwrap_err().may_be_forced);
        }
    }
}
