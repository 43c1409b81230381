//! `chamberlain config`: check the configuration without starting anything, and explain its keys.

use std::path::PathBuf;

use chamberlain_control::command::ConfigReload;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use crate::config::mistake::{Gravity, Mistake, Mistakes, Place};
use crate::config::typed::{Source, Sources, Typed, Written};
use crate::config::{self, keys, suggest};
use crate::failure::{Failure, exit};

const EXAMPLES: &str = "\
Examples:
  chamberlain config check
  chamberlain config check /etc/chamberlain/chamberlain.toml
  chamberlain config explain server.listen              value, source and meaning
  chamberlain config explain                            all keys
  chamberlain config reload                             what SIGHUP does, with the changes";

/// The configuration: check, explain, reload
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Say everything that is wrong, with line and fix; exit code 3 when it cannot be used
    Check {
        /// The file; the one that `up` would read when absent
        file: Option<PathBuf>,
    },
    /// Have the running server read the configuration again, as SIGHUP does
    Reload,
    /// Say what a key is, what it means, and where its value comes from
    Explain {
        /// The key, like server.listen; all keys when absent
        key: Option<String>,
    },
}

impl Config {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Check { file } => {
                let mut globals = context.globals.clone();
                globals.config = file.or(globals.config);
                check(&Context::new(globals, context.out))
            }
            Verb::Reload => reload(context),
            Verb::Explain { key: None } => explain_all(context),
            Verb::Explain { key: Some(key) } => explain(context, &key),
        }
    }
}

fn reload(context: &Context) -> Result<(), Failure> {
    let reloaded = context.ask(ConfigReload {})?;
    context.show(&reloaded, |out, reloaded| {
        let changes = reloaded.changes.iter().map(|change| {
            vec![change.setting.clone(), change.before.to_string(), change.after.to_string()]
        });
        out.table(&["setting", "before", "after"], changes.collect())
    })?;
    if !reloaded.changed && !context.out.json {
        context.out.hint("nothing changed that a reload takes over");
    }
    Ok(())
}

fn check(context: &Context) -> Result<(), Failure> {
    let sources = context.sources(Vec::new())?;
    let mistakes = match config::load(&sources, context.now()) {
        Ok(loaded) => loaded.warnings,
        Err(mistakes) => mistakes,
    };
    let file = sources.file.as_ref().map(|(path, _)| path.clone());
    show(context, file.as_deref(), &mistakes)?;
    if mistakes.usable() { Ok(()) } else { Err(Failure::silent(exit::PROBLEM)) }
}

fn show(context: &Context, file: Option<&str>, mistakes: &Mistakes) -> Result<(), Failure> {
    if context.out.json {
        let list: Vec<_> = mistakes.0.iter().map(mistake_json).collect();
        return context.out.value(&json!({
            "ok": mistakes.usable(), "file": file, "mistakes": list,
        }));
    }
    if !mistakes.0.is_empty() {
        context.out.line(&mistakes.to_string())?;
        context.out.line("")?;
    }
    let what = file.unwrap_or("no file; presets, environment and flags");
    let count = |gravity| mistakes.0.iter().filter(|mistake| mistake.gravity == gravity).count();
    let (errors, warnings) = (count(Gravity::Error), count(Gravity::Warning));
    context.out.line(&match (errors, warnings) {
        (0, 0) => format!("{what}: nothing is wrong"),
        (0, _) => format!("{what}: can be used; warnings: {warnings}"),
        _ => format!("{what}: cannot be used; errors: {errors}, warnings: {warnings}"),
    })
}

fn mistake_json(mistake: &Mistake) -> serde_json::Value {
    let gravity = match mistake.gravity {
        Gravity::Error => "error",
        Gravity::Warning => "warning",
    };
    let (line, column) = match &mistake.place {
        Some(Place::File { line, column, .. }) => (Some(line), Some(column)),
        _ => (None, None),
    };
    json!({
        "gravity": gravity,
        "place": mistake.place.as_ref().map(ToString::to_string),
        "line": line,
        "column": column,
        "what": mistake.what,
        "fix": mistake.fix,
    })
}

fn source(written: &Written) -> String {
    match &written.source {
        Source::Preset => "default".to_owned(),
        Source::Written(place @ Place::File { .. }) => format!("file {place}"),
        Source::Written(place @ Place::Variable(_)) => format!("environment {place}"),
        Source::Written(place @ Place::Flag(_)) => format!("flag {place}"),
    }
}

/// What was written, as far as it can be read; explaining a key must not need a flawless file.
fn typed(sources: &Sources) -> Typed {
    Typed::read(sources).0
}

fn explain_all(context: &Context) -> Result<(), Failure> {
    let typed = typed(&context.sources(Vec::new())?);
    let all = typed.all();
    if context.out.json {
        let list: Vec<_> =
            all.iter().map(|(path, key, written)| key_json(path, key, written)).collect();
        return context.out.value(&json!({ "keys": list }));
    }
    let rows = all
        .iter()
        .map(|(path, key, written)| {
            vec![path.clone(), written.value.to_toml(key.kind), source(written)]
        })
        .collect();
    context.out.table(&["key", "value", "source"], rows)
}

fn key_json(path: &str, key: &keys::Key, written: &Written) -> serde_json::Value {
    json!({
        "key": path,
        "value": written.value.to_toml(key.kind),
        "source": source(written),
        "default": key.preset.toml(keys::environment_of(path)),
        "example": key.example,
        "variable": keys::variable_of(path),
        "expects": key.kind.expects(),
        "takes_effect": if key.reloads { "reload" } else { "restart" },
        "doc": key.doc,
    })
}

fn explain(context: &Context, path: &str) -> Result<(), Failure> {
    let typed = typed(&context.sources(Vec::new())?);
    let (Some(key), Some(written)) = (keys::find(path), typed.written(path)) else {
        let all = typed.all();
        let names = all.iter().map(|(path, _, _)| path.as_str());
        let leaf = |name: &str| name.rsplit('.').next() == path.rsplit('.').next();
        let hint = suggest::nearest(path, names.clone())
            .or_else(|| names.clone().find(|name| leaf(name)))
            .map_or_else(
                || "`chamberlain config explain` lists all keys".to_owned(),
                |near| format!("did you mean {near}?"),
            );
        return Err(Failure::new(5, format!("there is no key {path:?}")).hint(hint));
    };
    if context.out.json {
        return context.out.value(&key_json(path, key, written));
    }
    context.out.facts(&[
        ("key", path.to_owned()),
        ("value", written.value.to_toml(key.kind)),
        ("source", source(written)),
        ("default", key.preset.toml(keys::environment_of(path)).to_owned()),
        ("expects", key.kind.expects()),
        ("example", key.example.to_owned()),
        ("environment variable", keys::variable_of(path)),
        (
            "takes effect",
            if key.reloads { "on reload (SIGHUP)" } else { "when restarted" }.to_owned(),
        ),
        ("meaning", key.doc.to_owned()),
    ])
}
