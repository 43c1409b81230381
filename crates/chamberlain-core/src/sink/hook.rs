//! Commands that are to make a program take a new key up: which of them are known not to.
//!
//! A container keeps the environment that it was created with. `docker compose restart` starts the
//! same container again, with the old key; the program works on, everybody believes that the new
//! key is in use, and the outage comes when the old one is revoked. Such commands are refused with
//! the one that recreates.

use std::fmt;

/// Why a command is not taken for making a program take up a new key, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepsOldKey {
    /// What it does.
    pub what: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

impl fmt::Display for KeepsOldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write {}", self.what, self.instead)
    }
}

/// Looks whether a command restarts where it should recreate. What runs inside a shell's `-c` is
/// looked at as well.
///
/// # Errors
/// When it is known to leave the old key in use.
pub fn takes_up(command: &[String]) -> Result<(), KeepsOldKey> {
    let words: Vec<&str> = command
        .iter()
        .flat_map(|argument| argument.split([' ', ';', '&', '|', '\t', '\n']))
        .filter(|word| !word.is_empty())
        .collect();
    let named = |word: &str, name: &str| word.rsplit('/').next() == Some(name);
    for (at, word) in words.iter().enumerate() {
        let after = &words[at + 1..];
        let has = |wanted: &str| after.contains(&wanted);
        let compose = named(word, "docker-compose")
            || (named(word, "docker") || named(word, "podman")) && has("compose");
        if compose && verb(after, &["compose"]) == Some("restart") {
            return Err(KeepsOldKey {
                what: "`docker compose restart` starts the old container, with the old key",
                instead: "`docker compose up -d --force-recreate SERVICE`",
            });
        }
        if compose && verb(after, &["compose"]) == Some("start") {
            return Err(KeepsOldKey {
                what: "`docker compose start` starts the old container, with the old key",
                instead: "`docker compose up -d --force-recreate SERVICE`",
            });
        }
        let container = named(word, "docker") || named(word, "podman");
        if container && !compose && matches!(verb(after, &["container"]), Some("restart" | "start"))
        {
            return Err(KeepsOldKey {
                what: "a restarted container keeps the environment that it was created with",
                instead: "a command that removes the container and runs a new one",
            });
        }
        if named(word, "pm2")
            && matches!(verb(after, &[]), Some("restart" | "reload" | "start"))
            && !has("--update-env")
        {
            return Err(KeepsOldKey {
                what: "pm2 keeps the environment that it first started a program with",
                instead: "`pm2 restart NAME --update-env`, from a shell that has read the file anew",
            });
        }
    }
    Ok(())
}

/// Options of these programs that take a value of their own, which is no verb.
const WITH_VALUE: [&str; 11] = [
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--profile",
    "--env-file",
    "--project-directory",
    "-H",
    "--host",
    "--context",
    "-c",
];

/// The first word that is neither an option, nor its value, nor one of `besides`.
fn verb<'a>(words: &[&'a str], besides: &[&str]) -> Option<&'a str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(word) {
            words.next();
        } else if !word.starts_with('-') && !besides.contains(word) {
            return Some(word);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_restarts_is_refused_with_what_recreates() {
        for text in [
            "/usr/bin/docker compose restart bot",
            "/usr/bin/docker compose -f /opt/x.yml --project-name p restart",
            "/usr/local/bin/docker-compose restart",
            "docker-compose -p up restart",
            "/usr/bin/docker restart bot",
            "/usr/bin/podman container restart bot",
            "/usr/bin/docker compose start bot",
            "/usr/bin/pm2 restart agentic-base-bot",
            "/usr/bin/pm2 reload all",
        ] {
            let told = takes_up(&command(text)).unwrap_err().to_string();
            assert!(told.contains("write "), "{told}");
        }
        let shell = ["/bin/sh", "-c", "cd /opt/app && docker compose restart"].map(str::to_owned);
        assert!(takes_up(&shell).is_err());
    }

    #[test]
    fn what_recreates_is_taken() {
        for text in [
            "/usr/bin/docker compose up -d --force-recreate restart",
            "/usr/bin/docker compose -f restart up -d",
            "/usr/bin/pm2 restart bot --update-env",
            "/usr/bin/systemctl restart bot",
            "/usr/bin/kubectl rollout restart deployment/bot",
            "/opt/app/recreate.sh",
        ] {
            assert_eq!(takes_up(&command(text)), Ok(()), "{text}");
        }
    }
}
