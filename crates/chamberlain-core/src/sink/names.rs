//! Names that hosts and files take, each checked before anything is asked of them. A name that is
//! not exactly right is refused with what is wrong; none is mended silently.

/// Longest name of a variable or a secret.
const NAME_CHARS_MAX: usize = 255;

type Checked = Result<(), String>;

fn check(is_good: bool, wrong: impl FnOnce() -> String) -> Checked {
    if is_good { Ok(()) } else { Err(wrong()) }
}

/// The name of a sink: as the name of an environment.
///
/// # Errors
/// What a name may be.
pub fn sink(name: &str) -> Checked {
    let good = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    check(good, || {
        format!(
            "{name:?} cannot name a sink: use up to 32 lower-case letters, digits, - and _, \
             beginning with a letter"
        )
    })
}

/// The name of an environment variable.
///
/// # Errors
/// What a name may be.
pub fn variable(name: &str) -> Checked {
    let good = !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    check(good, || {
        format!("{name:?} cannot name a variable: use letters, digits and _, no digit first")
    })
}

/// The name of a GitHub Actions secret. GitHub keeps them in capitals, so another spelling would
/// be listed under another name than the one that was written.
///
/// # Errors
/// What a name may be.
pub fn github_secret(name: &str) -> Checked {
    variable(name)?;
    check(!name.to_ascii_uppercase().starts_with("GITHUB_"), || {
        format!("{name:?}: GitHub takes no secret whose name begins with GITHUB_")
    })?;
    check(!name.bytes().any(|byte| byte.is_ascii_lowercase()), || {
        let capitals = name.to_ascii_uppercase();
        format!("{name:?}: GitHub keeps names in capitals; write {capitals:?}")
    })
}

/// A repository on GitHub, `owner/name`.
///
/// # Errors
/// What a name may be.
pub fn repository(name: &str) -> Checked {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() <= 100
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let good = name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
    check(good, || format!("{name:?} is not a repository; write \"owner/name\""))
}

/// A project on GitLab: its number, or its whole path.
///
/// # Errors
/// What a name may be.
pub fn project(name: &str) -> Checked {
    let number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['-', '.'])
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let path = name.contains('/') && name.len() <= NAME_CHARS_MAX && name.split('/').all(part);
    check(number || path, || {
        format!("{name:?} is not a project; write its number or its path, \"group/project\"")
    })
}

/// The name of an object in Kubernetes: a DNS subdomain.
///
/// # Errors
/// What a name may be.
pub fn kubernetes(name: &str) -> Checked {
    let edge =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let part = |part: &str| {
        edge(part.bytes().next())
            && edge(part.bytes().next_back())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    check(name.len() <= 253 && name.split('.').all(part), || {
        format!("{name:?} cannot name a Secret: use lower-case letters, digits, - and .")
    })
}

/// The name of a namespace in Kubernetes: a DNS label.
///
/// # Errors
/// What a name may be.
pub fn namespace(name: &str) -> Checked {
    let good = name.len() <= 63 && !name.contains('.') && kubernetes(name).is_ok();
    check(good, || {
        format!("{name:?} cannot name a namespace: use up to 63 lower-case letters, digits and -")
    })
}

/// A path to a file: whole, and without detours.
///
/// # Errors
/// What a path must be.
pub fn path(path: &str) -> Checked {
    let parts = || path.split('/').skip(1);
    let good = path.starts_with('/')
        && parts().all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.contains(|c: char| c.is_control());
    check(good, || {
        format!("{path:?} is not the whole path of a file; begin with / and leave out ..")
    })
}

/// A user and a group, `app:app`, by name or number.
///
/// # Errors
/// What is expected.
pub fn owner(owner: &str) -> Checked {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 64
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let good = owner.split_once(':').is_some_and(|(user, group)| part(user) && part(group));
    check(good, || format!("{owner:?} is not an owner; write \"user:group\""))
}

/// The address of a host's API. Without TLS a token would travel in the clear, so plain http goes
/// to this machine only.
///
/// # Errors
/// What is expected.
pub fn api(url: &str) -> Checked {
    let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(format!("{url:?} is not an address; write \"https://…\"")),
    };
    let host = rest.split('/').next().unwrap_or_default();
    let visible = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b);
    check(!host.is_empty() && rest.bytes().all(visible) && !rest.ends_with('/'), || {
        format!("{url:?}: write host and path only, without user, query or a / at the end")
    })?;
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    check(tls || ["127.0.0.1", "[::1]", "localhost"].contains(&bare), || {
        format!("{url:?}: the token would travel in the clear; write https://")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(check: fn(&str) -> Checked, good: &[&str], bad: &[&str]) {
        for name in good {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        for name in bad {
            assert!(check(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn names_are_exact_or_refused() {
        all(sink, &["app", "ci-staging", "a_1"], &["", "App", "1a", "a b", "-a"]);
        all(variable, &["ANTHROPIC_API_KEY", "_a", "a1"], &["", "1A", "A-B", "A=B", "A\n", "Ä"]);
        all(
            github_secret,
            &["ANTHROPIC_API_KEY_STAGING", "_A"],
            &["GITHUB_TOKEN", "anthropic_api_key", "A-B", ""],
        );
        all(
            repository,
            &["a/b", "agentic-base/integration.x"],
            &["a", "a/b/c", "a/..", "/b", "a/b?"],
        );
        all(
            project,
            &["17", "group/project", "a/b/c"],
            &["", "project", "a//b", "a/../b", "a/b%2f"],
        );
        all(kubernetes, &["a", "a-b.c"], &["", "A", "-a", "a-", "a..b"]);
        all(namespace, &["default"], &["a.b", ""]);
        all(path, &["/a/.env.local"], &["a", "/", "/a/", "/a/../b", "/a//b", "/a\n"]);
        all(owner, &["app:app", "0:0"], &["app", "app:", ":app", "a:b:c", "a b:c"]);
    }

    #[test]
    fn a_token_never_travels_in_the_clear() {
        all(
            api,
            &["https://api.github.com", "https://git.example/api/v4", "http://127.0.0.1:8080"],
            &[
                "http://gitlab.example",
                "http://127.0.0.1.evil.example",
                "http://localhost@evil.example",
                "https://user@host",
                "https://host/",
                "https://host?x",
                "ftp://host",
                "https://",
            ],
        );
    }
}
