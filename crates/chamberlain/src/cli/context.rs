//! What every command has at hand: the flags that all take, the configuration, the door.

use std::path::{Path, PathBuf};

use chamberlain_control::client::Client;
use chamberlain_control::command::Ask;
use chamberlain_control::door::{self, Door};
use chamberlain_core::time::{Clock, Timestamp};

use super::Globals;
use crate::config::typed::Sources;
use crate::config::{self, Loaded, locate};
use crate::failure::{Failure, exit};
use crate::out::Out;
use crate::serve::offline::Offline;
use crate::world::SystemClock;

/// Flags that stand for configuration keys: the flag, the key's path, what was given.
pub(crate) type Flags = Vec<(&'static str, &'static str, String)>;

/// What a command has at hand.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The flags that every command takes.
    pub(crate) globals: Globals,
    /// Where it writes.
    pub(crate) out: Out,
}

impl Context {
    /// At the beginning of a command.
    pub(crate) fn new(globals: Globals, out: Out) -> Context {
        Context { globals, out }
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// Everything the configuration is read from, flags of one command included.
    pub(crate) fn sources(&self, flags: Flags) -> Result<Sources, Failure> {
        let globals = &self.globals;
        let mut all = Vec::new();
        for (flag, path, value) in [
            ("--data", "data", globals.data.as_ref().map(|path| path.display().to_string())),
            ("--log", "log", globals.log.clone()),
            ("--log-format", "log_format", globals.log_format.clone()),
        ] {
            all.extend(value.map(|value| (flag, path, value)));
        }
        all.extend(flags);
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("CHAMBERLAIN_"))
            .collect();
        let near = self.named_data().or_else(locate::default_data).unwrap_or_default();
        let file = locate::config_file(globals.config.as_deref(), &near);
        let file = file.map(|path| read_config(&path)).transpose()?;
        Ok(Sources { file, variables, flags: all })
    }

    /// The configuration, flags of one command included.
    pub(crate) fn load(&self, flags: Flags) -> Result<Loaded, Failure> {
        let sources = self.sources(flags)?;
        config::load(&sources, self.now()).map_err(|mistakes| {
            Failure::new(exit::USAGE, format!("the configuration cannot be used\n\n{mistakes}"))
                .hint("`chamberlain config check` looks at it without starting anything")
        })
    }

    /// The data folder, absolute.
    pub(crate) fn data(&self) -> Result<PathBuf, Failure> {
        match self.named_data() {
            Some(named) => absolute(&named),
            None => self.data_of(&self.load(Vec::new())?),
        }
    }

    /// The data folder that a configuration leads to, absolute.
    pub(crate) fn data_of(&self, loaded: &Loaded) -> Result<PathBuf, Failure> {
        let found = loaded.config.data.clone().or_else(locate::default_data).ok_or_else(|| {
            Failure::usage("there is no home folder to keep data in")
                .hint("name a folder with --data DIR or CHAMBERLAIN_DATA")
        })?;
        absolute(&found)
    }

    /// The data folder that was named without a configuration file.
    fn named_data(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("CHAMBERLAIN_DATA").filter(|value| !value.is_empty());
        self.globals.data.clone().or_else(|| variable().map(PathBuf::from))
    }

    /// The door: a running server, or the data folder itself.
    pub(crate) fn door(&self) -> Result<Box<dyn Door>, Failure> {
        let data = self.data()?;
        match Client::connect(&data)? {
            Some(client) => Ok(Box::new(client)),
            None => {
                let settings = self.load(Vec::new())?.config.settings;
                Ok(Box::new(Offline { path: data, settings, out: self.out }))
            }
        }
    }

    /// Asks one question through the door.
    pub(crate) fn ask<A: Ask>(&self, question: A) -> Result<A::Reply, Failure> {
        Ok(door::ask(self.door()?.as_ref(), question)?)
    }

    /// Shows a reply: as JSON when asked for, else as `people` want it.
    pub(crate) fn show<T: serde::Serialize>(
        &self,
        reply: &T,
        people: impl FnOnce(&Out, &T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self.out.json {
            true => self.out.value(reply),
            false => people(&self.out, reply),
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::file(path, &error))
}

/// Reads a configuration file that only people who may change things can change.
fn read_config(path: &Path) -> Result<(String, String), Failure> {
    use std::os::unix::fs::MetadataExt;
    let fail = |error: &std::io::Error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .hint("`chamberlain init` writes a commented configuration file")
    };
    let mode = std::fs::metadata(path).map_err(|error| fail(&error))?.mode();
    if mode & 0o002 != 0 {
        return Err(Failure::usage(format!(
            "{}: everybody on this machine may change it",
            path.display()
        ))
        .hint(format!("chmod o-w {}", path.display())));
    }
    let bytes = std::fs::read(path).map_err(|error| fail(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Failure::usage(format!("{}: not UTF-8 (at byte {offset})", path.display()))
            .hint("save the file as UTF-8")
    })?;
    Ok((path.display().to_string(), text))
}
