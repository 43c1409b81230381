//! Sinks on real files and real programs, and on hosts that answer as they are told.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chamberlain_core::admission::key::{MintedKey, mint};
use chamberlain_core::sink::fault::{Again, Effect};
use chamberlain_core::sink::written::WrittenSink;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Dice, Nowhere};

mod files;
mod hosts;
mod programs;

/// A folder of its owner's alone, with what sinks are tried on.
struct Ground {
    folder: tempfile::TempDir,
    key: MintedKey,
}

impl Ground {
    fn new() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        Ground { folder, key: mint([7; 16], [9; 43]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn parcel(&self) -> Parcel<'_> {
        Parcel::of_virtual_key(&self.key.text, &self.key.id)
    }

    fn text(&self) -> &str {
        self.key.text.expose()
    }

    /// A program of that text.
    fn program(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn sink_on(web: Arc<dyn Web>, written: Value) -> Box<dyn Sink> {
    let written: WrittenSink = serde_json::from_value(written).unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(Dice::new());
    open(&written.resolve("app").unwrap(), &web, &entropy)
}

fn sink(written: Value) -> Box<dyn Sink> {
    sink_on(Arc::new(Nowhere), written)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
