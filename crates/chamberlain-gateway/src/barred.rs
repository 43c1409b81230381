//! Routes of Anthropic's that are known and not forwarded, each with its reason. Everything else
//! that is not in the route table is refused too; these only get a better answer.

/// One of them: a path, and everything under it, with every method.
pub(crate) struct Barred {
    pub(crate) path: &'static str,
    /// Why, and what to do instead; stands after a colon.
    pub(crate) reason: &'static str,
}

/// All of them, in the order of `docs/routes.md`.
pub(crate) static BARRED: [Barred; 18] = [
    Barred {
        path: "/v1/complete",
        reason: "it is retired, and its tokens are reported in a shape that cannot be metered; \
                 send POST /v1/messages",
    },
    Barred {
        path: "/v1/chat/completions",
        reason: "it spends tokens under another shape of request and usage, which could be \
                 neither bounded nor metered; send POST /v1/messages",
    },
    Barred {
        path: "/v1/skills",
        reason: "skills belong to the workspace of the upstream key, so every virtual key could \
                 read, change and delete everybody's; use tools of your own",
    },
    Barred {
        path: "/v1/oauth",
        reason: "it hands out a credential that would work past every budget; the virtual key \
                 is the credential here",
    },
    Barred {
        path: "/v1/agents",
        reason: "agents spend when they run, outside of any request whose cost could be \
                 bounded; build them on POST /v1/messages",
    },
    Barred {
        path: "/v1/sessions",
        reason: "a session spends tokens and running hours after its request has been answered, \
                 so no budget could hold it; send POST /v1/messages",
    },
    Barred {
        path: "/v1/environments",
        reason: "the work of managed agents spends outside of any request whose cost could be \
                 bounded; send POST /v1/messages",
    },
    Barred {
        path: "/v1/deployments",
        reason: "a deployment spends on a schedule, without any request that could be refused; \
                 send POST /v1/messages from a schedule of your own",
    },
    Barred {
        path: "/v1/deployment_runs",
        reason: "a deployment spends on a schedule, without any request that could be refused; \
                 send POST /v1/messages from a schedule of your own",
    },
    Barred {
        path: "/v1/dreams",
        reason: "it spends tokens after its request has been answered, so no budget could hold \
                 it; send POST /v1/messages",
    },
    Barred {
        path: "/v1/memory_stores",
        reason: "memory stores belong to the workspace of the upstream key, so every virtual \
                 key could read and change everybody's; keep memory on your side",
    },
    Barred {
        path: "/v1/vaults",
        reason: "a vault holds the workspace's secrets, which no virtual key may reach; ask \
                 your operator",
    },
    Barred {
        path: "/v1/tunnels",
        reason: "it hands out secrets of the workspace; ask your operator",
    },
    Barred {
        path: "/v1/user_profiles",
        reason: "profiles decide who pays, and belong to the workspace of the upstream key; ask \
                 your operator",
    },
    Barred {
        path: "/v1/claude_code",
        reason: "a routine spends somebody's subscription and takes a credential of its own; \
                 fire it without Chamberlain",
    },
    Barred {
        path: "/v1/organizations",
        reason: "the Admin API manages the organization, its keys and its limits; that is the \
                 operator's",
    },
    Barred {
        path: "/v1/compliance",
        reason: "the Compliance API shows what everybody in the organization did; that is the \
                 operator's",
    },
    Barred {
        path: "/v1/experimental",
        reason: "what it does and costs is not documented, so it could be neither bounded nor \
                 metered; send POST /v1/messages",
    },
];

/// Why a path is not forwarded; `None` for one that is not known.
pub(crate) fn reason(path: &str) -> Option<&'static str> {
    let is_there = |barred: &&Barred| {
        let under = path.strip_prefix(barred.path);
        under.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    BARRED.iter().find(is_there).map(|barred| barred.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{PathPattern, ROUTES};

    #[test]
    fn the_document_for_clients_says_the_same() {
        let text = include_str!("../../../docs/routes.md");
        let (_, below) = text.split_once("\n## Refused by name\n").unwrap();
        let rows = below.split("\n## ").next().unwrap().lines();
        let rows = rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` | "));
        let documented: Vec<(&str, &str)> = rows
            .map(|(path, rest)| (path, rest.rsplit(" | ").next().unwrap()))
            .map(|(path, reason)| (path, reason.trim_end_matches(" |")))
            .collect();
        let known: Vec<(&str, &str)> = BARRED.iter().map(|it| (it.path, it.reason)).collect();
        assert_eq!(documented, known, "left: docs/routes.md, right: the code");
    }

    #[test]
    fn nothing_that_is_routed_is_barred() {
        for spec in &ROUTES {
            let path = match spec.path {
                PathPattern::Exact(path) => path.to_owned(),
                PathPattern::OneUnder(prefix) => format!("{prefix}x"),
                PathPattern::Within(prefix, suffix) => format!("{prefix}x{suffix}"),
            };
            assert_eq!(reason(&path), None, "{path}");
        }
    }

    #[test]
    fn a_path_bars_what_is_under_it_and_nothing_else() {
        assert!(reason("/v1/sessions").is_some());
        assert!(reason("/v1/sessions/sesn_1/events/stream").is_some());
        for other in ["/v1/sessionss", "/v1", "/V1/sessions", "//v1/sessions", "/v1/files"] {
            assert_eq!(reason(other), None, "{other}");
        }
    }
}
