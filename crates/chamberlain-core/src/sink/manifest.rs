//! A Kubernetes Secret as text: what `kubectl apply -f -` takes, and what stands in a file that
//! Chamberlain wrote.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

/// The line by which a file is known as one of ours; any other is not overwritten.
pub const OURS: &str = "    app.kubernetes.io/managed-by: chamberlain\n";

/// What names the Secret and its one entry; all checked by [`super::names`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    /// The Secret.
    pub secret: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The entry.
    pub entry: &'a str,
    /// Which key it is, for whoever looks at the Secret's annotations.
    pub fingerprint: &'a str,
}

/// The manifest with `value` as its one entry. The names are written bare: the checks leave nothing
/// in them that YAML would take for something else but words like `on` and numbers, so they stand in quotes.
pub fn text(named: Named<'_>, value: &[u8]) -> Zeroizing<Vec<u8>> {
    let Named { secret, namespace, entry, fingerprint } = named;
    let head = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"{secret}\"\n  namespace: \"{namespace}\"\n  \
         labels:\n{OURS}  annotations:\n    chamberlain/fingerprint: \"{fingerprint}\"\n\
         type: Opaque\ndata:\n  \"{entry}\": "
    );
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(head.len() + value.len().div_ceil(3) * 4 + 1));
    out.extend_from_slice(head.as_bytes());
    let encoded = Zeroizing::new(BASE64.encode(value));
    out.extend_from_slice(encoded.as_bytes());
    out.push(b'\n');
    out
}

/// Whether a file's text is a manifest that [`text`] wrote for that Secret, whatever key is in it.
pub fn is_ours(text: &[u8], secret: &str, namespace: &str) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let named = format!("  name: \"{secret}\"\n  namespace: \"{namespace}\"\n");
    text.starts_with("apiVersion: v1\nkind: Secret\n")
        && text.contains(&named)
        && text.contains(OURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_the_value_in_base64_and_nothing_of_it_elsewhere() {
        let named = Named {
            secret: "anthropic",
            namespace: "prod",
            entry: "ANTHROPIC_API_KEY",
            fingerprint: "00ff00ff00ff00ff",
        };
        let made = text(named, b"planted-value");
        let made = std::str::from_utf8(&made).unwrap();
        assert_eq!(
            made,
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"anthropic\"\n  namespace: \"prod\"\n  \
             labels:\n    app.kubernetes.io/managed-by: chamberlain\n  annotations:\n    \
             chamberlain/fingerprint: \"00ff00ff00ff00ff\"\ntype: Opaque\ndata:\n  \
             \"ANTHROPIC_API_KEY\": cGxhbnRlZC12YWx1ZQ==\n"
        );
        assert!(is_ours(made.as_bytes(), "anthropic", "prod"));
        for (secret, namespace) in [("other", "prod"), ("anthropic", "default")] {
            assert!(!is_ours(made.as_bytes(), secret, namespace));
        }
        assert!(!is_ours(b"kind: Secret\n", "anthropic", "prod"));
    }
}
