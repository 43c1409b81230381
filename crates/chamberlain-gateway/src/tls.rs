//! TLS towards clients: what is served with, made from files that somebody else read.
//!
//! It refuses a key that does not belong to its certificate, and anything below TLS 1.2. What is
//! served can be replaced at any time: connections that stand go on, new ones get the new.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chamberlain_core::secret::Secret;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// Protocols inside TLS, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Sessions that may be taken up again. With tickets instead, a client whose certificate is not
/// accepted any more could come back without showing it.
const SESSIONS_MAX: usize = 4_096;

/// What TLS is served with, in PEM.
#[derive(Debug)]
pub struct TlsParts<'a> {
    /// The server's certificate, then those between it and the root.
    pub chain: &'a [u8],
    /// Its private key.
    pub key: &'a Secret,
    /// Certificates that vouch for clients; `None` asks clients for none.
    pub client_ca: Option<&'a [u8]>,
    /// Whether a client must show a certificate. One that is shown must be good either way.
    pub client_is_required: bool,
}

/// What is wrong with the files that TLS is to be served with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTls {
    /// The certificate's file.
    #[error("{0}")]
    Chain(String),
    /// The key's file.
    #[error("{0}")]
    Key(String),
    /// The file of those who vouch for clients.
    #[error("{0}")]
    ClientCa(String),
}

/// What TLS is served with now.
#[derive(Debug)]
pub struct Tls {
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Takes what is to be served with.
    ///
    /// # Errors
    /// [`BadTls`], which names the file and what belongs into it.
    pub fn new(parts: &TlsParts<'_>) -> Result<Tls, BadTls> {
        Ok(Tls { config: ArcSwap::new(config(parts)?) })
    }

    /// Serves new connections with something else. Nothing changes when that is not possible.
    ///
    /// # Errors
    /// As [`Tls::new`].
    pub fn replace(&self, parts: &TlsParts<'_>) -> Result<(), BadTls> {
        self.config.store(config(parts)?);
        Ok(())
    }

    /// What a connection that begins now is served with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

fn config(parts: &TlsParts<'_>) -> Result<Arc<ServerConfig>, BadTls> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = parts.client_ca.map(|pem| verifier(pem, parts.client_is_required, &provider));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadTls::Chain(error.to_string()))?;
    let builder = match verifier.transpose()? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = (chain(parts.chain)?, key(parts.key)?);
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => BadTls::Key(
            "this key does not belong to the certificate: put both files in place that were made \
             together"
                .to_owned(),
        ),
        error => BadTls::Key(format!("this key cannot be used: {error}")),
    })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(Arc::new(config))
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    certificates(pem, "the server's own certificate first, then those between it and the root")
        .map_err(BadTls::Chain)
}

fn certificates(pem: &[u8], wanted: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if found.is_empty() => Err(format!(
            "no certificate is in it: it must hold PEM blocks that begin with -----BEGIN \
             CERTIFICATE-----, {wanted}"
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("it is not readable PEM: {error}")),
    }
}

fn key(pem: &Secret) -> Result<PrivateKeyDer<'static>, BadTls> {
    let text = pem.expose();
    let help = match text.contains("ENCRYPTED") {
        true => {
            "its key is encrypted, and nobody is there to type a passphrase: write it plain with \
             `openssl pkey -in KEY -out PLAIN`, mode 0600"
        }
        false => {
            "no private key is in it: it must hold a PEM block like -----BEGIN PRIVATE KEY-----"
        }
    };
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| BadTls::Key(help.to_owned()))
}

fn verifier(
    pem: &[u8],
    is_required: bool,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, BadTls> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in
        certificates(pem, "each of which may vouch for clients").map_err(BadTls::ClientCa)?
    {
        roots
            .add(certificate)
            .map_err(|error| BadTls::ClientCa(format!("a certificate in it is bad: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| BadTls::ClientCa(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(chain: &str, key: &str, client_ca: Option<&str>) -> BadTls {
        let key = Secret::new(key.to_owned());
        let client_ca = client_ca.map(str::as_bytes);
        let parts =
            TlsParts { chain: chain.as_bytes(), key: &key, client_ca, client_is_required: true };
        Tls::new(&parts).unwrap_err()
    }

    #[test]
    fn what_cannot_be_served_with_is_told_by_file() {
        let block = |name: &str| format!("-----BEGIN {name}-----\nAAAA\n-----END {name}-----\n");
        let chain = block("CERTIFICATE");
        let told = bad("", "", None);
        assert!(matches!(&told, BadTls::Chain(text) if text.contains("no certificate is in it")));
        let told = bad("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "", None);
        assert!(matches!(&told, BadTls::Chain(text) if text.contains("not readable PEM")));
        let told = bad(&chain, "", None);
        assert!(matches!(&told, BadTls::Key(text) if text.contains("no private key is in it")));
        let told = bad(&chain, &block("ENCRYPTED PRIVATE KEY"), None);
        assert!(matches!(&told, BadTls::Key(text) if text.contains("openssl pkey")));
        let told = bad(&chain, "", Some(""));
        assert!(matches!(&told, BadTls::ClientCa(text) if text.contains("vouch for clients")));
        let told = bad(&chain, "", Some(&chain));
        assert!(matches!(&told, BadTls::ClientCa(text) if text.contains("is bad")));
    }
}
