//! A sink as configured, every name in it checked.

use crate::id::EnvironmentName;

/// Longest and preset time for one delivery, milliseconds.
pub const TIMEOUT_MS: (u64, u64) = (600_000, 30_000);

/// Longest and preset time until a program must work with the new key, milliseconds.
pub const HEALTH_TIMEOUT_MS: (u64, u64) = (1_800_000, 60_000);

/// A sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SinkSettings {
    /// Its name.
    pub name: String,
    /// The environment whose key it is given.
    pub environment: EnvironmentName,
    /// Which keys it takes.
    pub takes: Takes,
    /// Where the key goes.
    pub target: Target,
    /// What makes a program take the key up, and how that is proven.
    pub follow_up: FollowUp,
    /// How long one delivery may take, milliseconds.
    pub timeout_ms: u64,
}

/// Which keys a sink takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Upstream keys and virtual keys.
    Any,
    /// Virtual keys only: what development and, better, CI are given.
    Virtual,
}

/// Where a key goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A line in a file.
    EnvFile(EnvFile),
    /// A command's standard input.
    Command(Program),
    /// A secret of GitHub Actions.
    Github(Github),
    /// A variable of GitLab CI/CD.
    Gitlab(Gitlab),
    /// A Kubernetes Secret.
    Kubernetes(Kubernetes),
}

impl Target {
    /// Its kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Target::EnvFile(_) => "env_file",
            Target::Command(_) => "command",
            Target::Github(_) => "github",
            Target::Gitlab(_) => "gitlab",
            Target::Kubernetes(_) => "kubernetes",
        }
    }

    /// Where exactly, for people and for records: two sinks with the same place are the same place.
    pub fn place(&self) -> String {
        match self {
            Target::EnvFile(file) => format!("{}#{}", file.path, file.variable),
            Target::Command(program) => program.command.join(" "),
            Target::Github(github) => {
                let of = github.deployment.as_ref();
                let of = of.map_or_else(String::new, |name| format!(" in {name}"));
                format!("{}/{}{of}#{}", github.api, github.repository, github.secret)
            }
            Target::Gitlab(gitlab) => {
                let (api, project) = (&gitlab.api, &gitlab.project);
                format!("{api}/{project} for {}#{}", gitlab.scope, gitlab.variable)
            }
            Target::Kubernetes(to) => {
                let (namespace, secret, entry) = (&to.namespace, &to.secret, &to.entry);
                let by = match &to.by {
                    Apply::File(path) => path.clone(),
                    Apply::Command(program) => program.command.join(" "),
                };
                format!("{by} ({namespace}/{secret}#{entry})")
            }
        }
    }
}

/// A line in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvFile {
    /// The file.
    pub path: String,
    /// The variable.
    pub variable: String,
    /// `user:group` that the file shall belong to; `None` keeps what it is.
    pub owner: Option<String>,
}

/// A program with its arguments. It is started without a shell, with a clean environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The program by its whole path, and its arguments.
    pub command: Vec<String>,
    /// Variables of Chamberlain's own environment that it is given.
    pub pass_environment: Vec<String>,
}

/// A secret of GitHub Actions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Github {
    /// The API, without a slash at its end.
    pub api: String,
    /// `owner/name`.
    pub repository: String,
    /// The deployment environment of GitHub's that it belongs to; `None` for the repository's own.
    pub deployment: Option<String>,
    /// The secret.
    pub secret: String,
    /// The file that has the token.
    pub token_file: String,
}

/// A variable of GitLab CI/CD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gitlab {
    /// The API, without a slash at its end.
    pub api: String,
    /// Number or path.
    pub project: String,
    /// The environments of GitLab's that it is for, `*` for all.
    pub scope: String,
    /// The variable.
    pub variable: String,
    /// The file that has the token.
    pub token_file: String,
}

/// A Kubernetes Secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kubernetes {
    /// Its namespace.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The entry.
    pub entry: String,
    /// How it gets there.
    pub by: Apply,
}

/// How a Kubernetes Secret gets to its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Apply {
    /// Its manifest is written to this file.
    File(String),
    /// Its manifest is given to this program (`kubectl apply -f -`).
    Command(Program),
}

/// What follows a delivery.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FollowUp {
    /// Makes the program take the key up.
    pub recreate: Option<Program>,
    /// Says whether it works.
    pub health: Option<Health>,
}

/// How it is seen that a program works with the new key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Asked again and again until it says yes.
    pub program: Program,
    /// What a yes is.
    pub shows: HealthShows,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
}

/// What a health command shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HealthShows {
    /// It ends with 0.
    Exit,
    /// It ends with 0 and prints the SHA-256 of the key that the program uses, in hexadecimal:
    /// proof that it is the new one.
    Sha256,
}
