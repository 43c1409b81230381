//! The first stage: what was written, where, and in which shape. It knows nothing of what the
//! values mean together.
//!
//! Precedence, the strongest first: flag, environment variable, file, preset.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

use super::keys::{self, KEYS, Key};
use super::mistake::{Mistake, Place};
use super::suggest;
use super::value::{Value, read_price_row, read_sink};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody wrote it.
    Preset,
    /// It was written there.
    Written(Place),
}

/// One value with its source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// The value.
    pub(crate) value: Value,
    /// Its source.
    pub(crate) source: Source,
}

/// What a configuration is read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The file's path and text.
    pub(crate) file: Option<(String, String)>,
    /// Environment variables.
    pub(crate) variables: Vec<(String, String)>,
    /// Flags: name as typed, the key's path, and the value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

/// Every key with its value and source, presets included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    values: BTreeMap<String, Written>,
    environments: BTreeSet<String>,
}

impl Typed {
    /// Reads everything, collecting every mistake instead of stopping at the first.
    pub(crate) fn read(sources: &Sources) -> (Typed, Vec<Mistake>) {
        let mut typed = Typed {
            values: BTreeMap::new(),
            environments: keys::ENVIRONMENTS.iter().map(|&name| name.to_owned()).collect(),
        };
        let mut mistakes = Vec::new();
        if let Some((path, text)) = &sources.file {
            FileReader { path, text, typed: &mut typed, mistakes: &mut mistakes }.read();
        }
        for (name, text) in &sources.variables {
            typed.read_variable(name, text, &mut mistakes);
        }
        for (flag, path, text) in &sources.flags {
            let place = Place::Flag((*flag).to_owned());
            typed.read_text(path, text, place, &mut mistakes);
        }
        typed.fill_presets();
        (typed, mistakes)
    }

    /// The value and source of `path`, which is in the table.
    pub(crate) fn written(&self, path: &str) -> Option<&Written> {
        self.values.get(path)
    }

    /// The environments, in the order of the alphabet.
    pub(crate) fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().map(String::as_str)
    }

    /// Every path with its key and value, in the order of the table.
    pub(crate) fn all(&self) -> Vec<(String, &'static Key, &Written)> {
        let mut all: Vec<_> = self
            .values
            .iter()
            .filter_map(|(path, written)| keys::find(path).map(|key| (path.clone(), key, written)))
            .collect();
        let position = |path: &str| {
            let pattern = keys::pattern_of(path);
            KEYS.iter().position(|key| key.path == pattern)
        };
        all.sort_by_cached_key(|(path, _, _)| {
            (keys::environment_of(path).map(str::to_owned), position(path))
        });
        all
    }

    /// Where `path` was written, for a mistake about what it means.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        match &self.values.get(path)?.source {
            Source::Written(place) => Some(place.clone()),
            Source::Preset => None,
        }
    }

    fn fill_presets(&mut self) {
        for key in KEYS {
            let paths: Vec<(String, Option<&str>)> = match key.path.split_once('*') {
                None => vec![(key.path.to_owned(), None)],
                Some((before, after)) => self
                    .environments
                    .iter()
                    .map(|name| (format!("{before}{name}{after}"), Some(name.as_str())))
                    .collect(),
            };
            for (path, environment) in paths {
                if self.values.contains_key(&path) {
                    continue;
                }
                let value = preset_value(key, environment);
                self.values.insert(path, Written { value, source: Source::Preset });
            }
        }
    }

    fn read_variable(&mut self, name: &str, text: &str, mistakes: &mut Vec<Mistake>) {
        let Some(rest) = name.strip_prefix("CHAMBERLAIN_") else { return };
        // CHAMBERLAIN_VERSION is what images and pipelines call the version of the program.
        let known = KEYS
            .iter()
            .filter(|key| key.path != "version")
            .find(|key| !key.path.contains('*') && keys::variable_of(key.path) == name);
        let path = match known {
            Some(key) => key.path.to_owned(),
            // A single underscore is not a nested key: orchestrators invent such names
            // (`CHAMBERLAIN_PORT`), and those with a meaning of their own are read elsewhere.
            None if !rest.contains("__") => return,
            None => self.nested_path(&rest.to_lowercase()),
        };
        let place = Place::Variable(name.to_owned());
        if keys::find(&path).is_none() {
            let names: Vec<String> = KEYS
                .iter()
                .flat_map(|key| match key.path.contains('*') {
                    false => vec![keys::variable_of(key.path)],
                    true => self
                        .environments
                        .iter()
                        .map(|env| keys::variable_of(&key.path.replace('*', env)))
                        .collect(),
                })
                .collect();
            let fix = suggest::nearest(name, names.iter().map(String::as_str)).map_or_else(
                || "run `chamberlain config explain` for all keys, or unset it".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            mistakes.push(Mistake::error(Some(place), "no configuration key has this name", fix));
            return;
        }
        self.read_text(&path, text, place, mistakes);
    }

    /// `environments__pre_prod__budgets__daily` → `environments.pre-prod.budgets.daily`, when there is a `pre-prod`.
    fn nested_path(&self, lower: &str) -> String {
        let mut parts: Vec<String> = lower.split("__").map(str::to_owned).collect();
        if parts.len() > 2 && parts[0] == "environments" {
            let meant = self.environments.iter().find(|name| name.replace('-', "_") == parts[1]);
            if let Some(name) = meant {
                parts[1].clone_from(name);
            }
        }
        parts.join(".")
    }

    fn read_text(&mut self, path: &str, text: &str, place: Place, mistakes: &mut Vec<Mistake>) {
        let Some(key) = keys::find(path) else { return };
        if let Some(name) = keys::environment_of(path) {
            if !keys::is_environment_name(name) {
                mistakes.push(bad_environment_name(name, Some(place)));
                return;
            }
            self.environments.insert(name.to_owned());
        }
        match key.kind.read_text(text) {
            Ok(value) => {
                self.values
                    .insert(path.to_owned(), Written { value, source: Source::Written(place) });
            }
            Err(wrong) => mistakes.push(Mistake::error(Some(place), wrong.what, wrong.fix)),
        }
    }
}

fn preset_value(key: &Key, environment: Option<&str>) -> Value {
    let toml = key.preset.toml(environment);
    if toml == "\"\"" {
        return Value::Nothing;
    }
    let text = format!("x = {toml}");
    let table = DeTable::parse(&text).ok();
    let read = table.as_ref().and_then(|table| {
        let value = table.get_ref().get("x")?;
        key.kind.read_toml(value.get_ref()).ok()
    });
    read.expect("a test reads every preset of the table")
}

fn bad_environment_name(name: &str, place: Option<Place>) -> Mistake {
    Mistake::error(
        place,
        format!("{name:?} cannot name an environment"),
        "use up to 32 lower-case letters, digits, - and _, beginning with a letter",
    )
}

/// Walks a file.
struct FileReader<'a> {
    path: &'a str,
    text: &'a str,
    typed: &'a mut Typed,
    mistakes: &'a mut Vec<Mistake>,
}

impl FileReader<'_> {
    fn read(&mut self) {
        let text = self.text;
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = error.span().map(|span| self.place(span));
            let what = error.message().trim().replace('\n', ", ");
            self.mistake(place, what, "see https://toml.io for how TOML is written");
        }
        self.table(table.get_ref(), "");
        if self.typed.written("version").is_none() && errors.is_empty() {
            let place = Some(self.place(0..0));
            self.mistake(place, "the format version is missing", "begin with: version = 1");
        }
        let first = |mistake: &Mistake| match &mistake.place {
            Some(Place::File { line, column, .. }) => (*line, *column),
            _ => (0, 0),
        };
        self.mistakes.sort_by_key(first);
    }

    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table.iter() {
            let written = name.get_ref().as_ref();
            let path =
                if prefix.is_empty() { written.to_owned() } else { format!("{prefix}.{written}") };
            if prefix == "environments" {
                if !keys::is_environment_name(written) {
                    let place = self.place(name.span());
                    self.mistakes.push(bad_environment_name(written, Some(place)));
                    continue;
                }
                if let Some(near) = suggest::slip_of(written, &keys::ENVIRONMENTS) {
                    let what = format!("{written:?} is an environment of its own");
                    let fix = format!(
                        "did you mean {near:?}? What is set here holds for {written:?} only"
                    );
                    self.mistakes.push(Mistake::warning(Some(self.place(name.span())), what, fix));
                }
                self.typed.environments.insert(written.to_owned());
            }
            match (keys::find(&path), value.get_ref()) {
                (Some(_), DeValue::Array(rows)) if path == "prices" => {
                    self.prices(rows, value.span());
                }
                (Some(_), DeValue::Table(tables)) if path == "sinks" => {
                    self.sinks(tables, value.span());
                }
                (Some(key), found) => self.value(&path, key, found, value.span()),
                (None, DeValue::Table(inner)) if is_table(&path) => self.table(inner, &path),
                (None, found) if is_table(&path) => {
                    let place = Some(self.place(value.span()));
                    let what = format!("`{path}` is a table, not {}", kind_of(found));
                    self.mistake(place, what, format!("write [{path}] on a line of its own"));
                }
                (None, _) => self.unknown(&path, written, prefix, name.span()),
            }
        }
    }

    fn value(&mut self, path: &str, key: &Key, found: &DeValue<'_>, span: Range<usize>) {
        let place = self.place(span);
        match key.kind.read_toml(found) {
            Ok(value) => {
                self.typed
                    .values
                    .insert(path.to_owned(), Written { value, source: Source::Written(place) });
            }
            Err(wrong) => {
                self.mistake(Some(place), format!("`{path}`: {}", wrong.what), wrong.fix);
                // The key was written, if badly: that it is missing is not another mistake.
                if path == "version" {
                    let written = Written { value: Value::Number(1), source: Source::Preset };
                    self.typed.values.insert(path.to_owned(), written);
                }
            }
        }
    }

    fn prices(&mut self, rows: &DeArray<'_>, span: Range<usize>) {
        let mut read = Vec::new();
        for row in rows.iter() {
            match read_price_row(row) {
                Ok(row) => read.push(row),
                Err((span, wrong)) => {
                    let place = Some(self.place(span));
                    self.mistake(place, format!("`prices`: {}", wrong.what), wrong.fix);
                }
            }
        }
        let source = Source::Written(self.place(span));
        let written = Written { value: Value::Prices(read), source };
        self.typed.values.insert("prices".to_owned(), written);
    }

    fn sinks(&mut self, tables: &DeTable<'_>, span: Range<usize>) {
        let mut read = Vec::new();
        for (name, table) in tables.iter() {
            match read_sink(name.get_ref(), table) {
                Ok(sink) => read.push(sink),
                Err((span, wrong)) => {
                    let place = Some(self.place(span));
                    let what = format!("`sinks.{}`: {}", name.get_ref(), wrong.what);
                    self.mistake(place, what, wrong.fix);
                }
            }
        }
        let source = Source::Written(self.place(span));
        let written = Written { value: Value::Sinks(read), source };
        self.typed.values.insert("sinks".to_owned(), written);
    }

    fn unknown(&mut self, path: &str, name: &str, prefix: &str, span: Range<usize>) {
        let place = Some(self.place(span));
        let parent =
            keys::pattern_of(path).rsplit_once('.').map_or(String::new(), |p| p.0.to_owned());
        let depth = if prefix.is_empty() { 0 } else { parent.split('.').count() };
        let siblings = KEYS
            .iter()
            .filter(|key| parent.is_empty() || key.path.starts_with(&format!("{parent}.")))
            .filter_map(|key| key.path.split('.').nth(depth));
        let fix = if let Some(near) = suggest::nearest(name, siblings) {
            format!("did you mean `{near}`?")
        } else if let Some((table, leaf)) = elsewhere(name) {
            format!("`{leaf}` belongs under [{table}]")
        } else {
            "remove it; `chamberlain config explain` lists every key".to_owned()
        };
        self.mistake(place, format!("unknown key `{path}`"), fix);
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::in_file(self.path, self.text, span)
    }

    fn mistake(&mut self, place: Option<Place>, what: impl Into<String>, fix: impl Into<String>) {
        self.mistakes.push(Mistake::error(place, what, fix));
    }
}

/// Whether `path` is the beginning of a key's path, or names an environment.
fn is_table(path: &str) -> bool {
    let parts = path.split('.').collect::<Vec<_>>();
    KEYS.iter().any(|key| {
        let pattern = key.path.split('.').collect::<Vec<_>>();
        pattern.len() > parts.len()
            && parts.iter().zip(&pattern).all(|(part, word)| *word == "*" || word == part)
    })
}

/// The table in which a key of that name exists.
fn elsewhere(name: &str) -> Option<(String, &'static str)> {
    KEYS.iter()
        .filter_map(|key| key.path.rsplit_once('.'))
        .find(|(_, leaf)| *leaf == name)
        .map(|(table, leaf)| (table.replace('*', "NAME"), leaf))
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Table(_) => "a table",
        DeValue::Array(_) => "a list",
        _ => "a value",
    }
}
