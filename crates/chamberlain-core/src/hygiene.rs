//! Where keys lie about: which files of a repository may have some, and what in a text has the
//! shape of one.
//!
//! By shape only: nothing is asked whether it works, and no part of a key leaves this file. Two
//! finds can be compared by their digests.

use sha2::{Digest, Sha256};

/// Names of env files that git must not take, as people and the seed of this project have them;
/// the last are the copies that a careless `cp` leaves.
pub const MUST_BE_IGNORED: [&str; 6] = [
    ".env",
    ".env.local",
    ".env.production",
    ".env.production.local",
    ".env.local.backup-20251208",
    ".env.bak",
];

/// Fewer characters after its prefix make no key: prose and samples name prefixes.
const SECRET_CHARS_MIN: usize = 40;

/// A key has many different characters; a placeholder has few.
const DIFFERENT_CHARS_MIN: usize = 10;

/// What a text has the shape of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyShape {
    /// An Anthropic API key.
    Upstream,
    /// A key of Anthropic's Admin API.
    Admin,
    /// Another credential of Anthropic's.
    Other,
    /// A virtual key of Chamberlain's.
    Virtual,
}

impl KeyShape {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            KeyShape::Upstream => "an Anthropic API key",
            KeyShape::Admin => "an Anthropic Admin API key",
            KeyShape::Other => "an Anthropic access token",
            KeyShape::Virtual => "a virtual key",
        }
    }
}

/// Something with the shape of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Found {
    /// Its line, counted from 1.
    pub line: usize,
    /// What it looks like.
    pub shape: KeyShape,
    /// The same for the same key; tells nothing about it.
    pub digest: [u8; 8],
}

/// Everything in a text that has the shape of a key.
pub fn keys_in(text: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let mut rest = line;
        while let Some((shape, start)) = next_prefix(rest) {
            let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            let length = rest[start..].iter().take_while(is_part).count();
            let key = &rest[start..start + length];
            if is_secret(key) {
                let digest = Sha256::digest(key);
                let digest = *digest.first_chunk().expect("a hash has 32 bytes");
                found.push(Found { line: at + 1, shape: shape_of(shape, key), digest });
            }
            rest = &rest[start + length.max(1)..];
        }
    }
    found
}

const PREFIXES: [(&[u8], KeyShape); 2] =
    [(b"sk-ant-", KeyShape::Upstream), (b"chm_", KeyShape::Virtual)];

fn next_prefix(text: &[u8]) -> Option<(KeyShape, usize)> {
    let at = |prefix: &[u8]| text.windows(prefix.len()).position(|window| window == prefix);
    PREFIXES
        .iter()
        .filter_map(|(prefix, shape)| Some((*shape, at(prefix)?)))
        .min_by_key(|one| one.1)
}

fn is_secret(key: &[u8]) -> bool {
    let prefix = PREFIXES.iter().find(|(prefix, _)| key.starts_with(prefix));
    let mut secret = key[prefix.map_or(0, |(prefix, _)| prefix.len())..].to_vec();
    let length = secret.len();
    secret.sort_unstable();
    secret.dedup();
    length >= SECRET_CHARS_MIN && secret.len() >= DIFFERENT_CHARS_MIN
}

fn shape_of(shape: KeyShape, key: &[u8]) -> KeyShape {
    match shape {
        KeyShape::Upstream if key.starts_with(b"sk-ant-admin") => KeyShape::Admin,
        KeyShape::Upstream if !key.starts_with(b"sk-ant-api") => KeyShape::Other,
        shape => shape,
    }
}

/// What a file of a repository is, as far as keys are concerned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// A file with settings of one machine, keys among them.
    Env,
    /// A copy of one.
    EnvCopy,
    /// A sample of one, which is meant for git.
    EnvSample,
    /// What CI runs by, or what containers are made by.
    Ci,
}

/// What the file at `path`, below the repository, is; `None` for all others.
pub fn kind_of(path: &str) -> Option<FileKind> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let is_env = name == ".env"
        || name.starts_with(".env.")
        || name.starts_with(".env-")
        || name.starts_with(".env~")
        || name.starts_with(".env_")
        || name.contains(".env.")
        || name.ends_with(".env");
    if is_env {
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        return match () {
            () if name.ends_with(".gpg") || name.ends_with(".age") || name.ends_with(".asc") => {
                None
            }
            () if has(&["example", "sample", "template", "dist", "defaults"]) => {
                Some(FileKind::EnvSample)
            }
            () if name.ends_with('~')
                || has(&["backup", ".bak", ".old", ".orig", ".save", ".sw", "copy", ".tmp"]) =>
            {
                Some(FileKind::EnvCopy)
            }
            () => Some(FileKind::Env),
        };
    }
    let is_yaml = name.ends_with(".yml") || name.ends_with(".yaml");
    let folder = |folder: &str| path.starts_with(folder);
    let named = |start: &str| name.starts_with(start);
    let of_ci = folder(".github/workflows/")
        || folder(".circleci/")
        || named("docker-compose")
        || named("compose.")
        || name.contains("pipelines")
        || [".travis.yml", ".drone.yml"].contains(&name.as_str());
    let ci =
        is_yaml && of_ci || named(".gitlab-ci.") || named("dockerfile") || name == "jenkinsfile";
    ci.then_some(FileKind::Ci)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, letter: char) -> String {
        format!("sk-ant-{kind}-{letter}{}AA", "Ab3_-xYz09".repeat(9))
    }

    #[test]
    fn keys_are_found_by_line_and_kind_and_told_apart() {
        let minted =
            crate::admission::key::mint(*b"0123456789abcdef", std::array::from_fn(|i| i as u8));
        let text = format!(
            "A={}\nB=\"{}\" C={}\n# {}\n{}",
            key("api03", 'a'),
            key("admin01", 'a'),
            key("oat01", 'a'),
            minted.text.expose(),
            key("api03", 'a')
        );
        let found = keys_in(text.as_bytes());
        let seen: Vec<_> = found.iter().map(|found| (found.line, found.shape)).collect();
        assert_eq!(
            seen,
            [
                (1, KeyShape::Upstream),
                (2, KeyShape::Admin),
                (2, KeyShape::Other),
                (3, KeyShape::Virtual),
                (4, KeyShape::Upstream)
            ]
        );
        assert_eq!(found[0].digest, found[4].digest);
        let other = keys_in(key("api03", 'b').as_bytes());
        assert_ne!(other[0].digest, found[0].digest);
    }

    #[test]
    fn samples_and_prose_are_no_keys() {
        for text in [
            "a key begins with sk-ant-api03-",
            "ANTHROPIC_API_KEY=sk-ant-api03-DEV_KEY_HERE",
            &format!("ANTHROPIC_API_KEY=sk-ant-api03-{}", "X".repeat(95)),
            "sk-ant-api03-R2D...igAA chm_0123456789abcdef",
            "",
        ] {
            assert_eq!(keys_in(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn files_are_known_by_their_names() {
        for (path, kind) in [
            (".env", Some(FileKind::Env)),
            ("integration/.env.local", Some(FileKind::Env)),
            ("prod.env", Some(FileKind::Env)),
            (".env.local.backup-20251208", Some(FileKind::EnvCopy)),
            (".env.bak", Some(FileKind::EnvCopy)),
            (".env~", Some(FileKind::EnvCopy)),
            (".env.local.swp", Some(FileKind::EnvCopy)),
            (".env.example", Some(FileKind::EnvSample)),
            (".env.local.gpg", None),
            (".github/workflows/test.yml", Some(FileKind::Ci)),
            ("docs/workflows/test.yml", None),
            (".gitlab-ci.yml", Some(FileKind::Ci)),
            ("deploy/docker-compose.prod.yaml", Some(FileKind::Ci)),
            ("Dockerfile", Some(FileKind::Ci)),
            ("environment.ts", None),
            ("src/main.rs", None),
        ] {
            assert_eq!(kind_of(path), kind, "{path}");
        }
    }
}
