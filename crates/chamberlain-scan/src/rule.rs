//! What a rule says about itself: what it finds, whose it is, and how bad it is in strange hands.

use std::borrow::Cow;
use std::fmt;

/// What kind of service a secret opens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// Anthropic's credentials.
    Anthropic,
    /// Chamberlain's virtual keys.
    Chamberlain,
    /// Other services that serve models.
    Ai,
    /// Clouds and hosting.
    Cloud,
    /// Forges, package registries, build services.
    Code,
    /// Payments and shops.
    Payment,
    /// Chat and mail.
    Message,
    /// Monitoring, documents and other services.
    Service,
    /// Private keys.
    PrivateKey,
    /// Rules of the one who scans.
    Own,
}

impl Family {
    /// The name that options and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Family::Anthropic => "anthropic",
            Family::Chamberlain => "chamberlain",
            Family::Ai => "ai",
            Family::Cloud => "cloud",
            Family::Code => "code",
            Family::Payment => "payment",
            Family::Message => "message",
            Family::Service => "service",
            Family::PrivateKey => "private-key",
            Family::Own => "own",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How bad it is when a stranger has the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Of little use alone: a test key, an identifier.
    Low,
    /// Opens something narrow.
    Medium,
    /// Opens a service, or spends money.
    High,
    /// Opens everything that its owner has there.
    Critical,
}

impl Severity {
    /// The name that options and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Confidence {
    /// It has the form, and little else speaks for it.
    Low,
    /// It has the form and looks random.
    Medium,
    /// It has what only a real one has: the inner shape, or a checksum.
    High,
}

impl Confidence {
    /// The name that options and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One kind of secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name in options, reports and baselines; never changes.
    pub id: Cow<'static, str>,
    /// What it finds, for people.
    pub title: Cow<'static, str>,
    /// Whose secret it is.
    pub provider: Cow<'static, str>,
    /// What kind of service it opens.
    pub family: Family,
    /// How bad it is in strange hands.
    pub severity: Severity,
    /// How it is found, for people.
    pub how: Cow<'static, str>,
    /// How many bytes of the secret say only what kind it is. They are shown when a secret is
    /// masked, and no more than they have passed when a stream knows what it has before it.
    pub open: usize,
}
