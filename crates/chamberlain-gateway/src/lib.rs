//! The way of a call: identify, inspect, decide, bound, admit, record, forward, meter, settle.
//!
//! Every step is a function that takes the step before it by value, so what was not done cannot
//! be skipped. All rules are in `chamberlain-core`; this room moves bytes, holds the lock, and
//! keeps time. It cannot spell SQL: what must be on record goes through the [`journal::Journal`]
//! port. It cannot see a real key either: the [`keys::KeySource`] hands it a header value.

mod admit;
mod barred;
mod batch;
mod body;
mod bound;
mod call;
mod connect;
mod decide;
mod desk;
mod encoding;
mod ending;
mod escort;
mod files;
mod forward;
mod framing;
mod gateway;
mod headers;
mod health;
mod identify;
mod inspect;
pub mod journal;
pub mod keys;
mod listed;
mod listening;
mod live;
mod log;
mod metrics;
mod notice;
pub mod outside;
mod own;
mod patience;
mod permit;
pub mod probe;
mod recall;
mod record;
mod refine;
mod refuse;
mod room;
mod route;
mod server;
mod shake;
mod stopwatch;
mod strangers;
mod stream;
mod tls;
mod trace;
mod upstream;
mod uses;
mod workers;

pub use gateway::{Gateway, GatewayParts, KeyUse, StartFault, Upstream};
pub use health::{BreakerLive, UpstreamLimit};
pub use listening::{ConnectionLimits, Listening};
pub use live::Live;
pub use metrics::shown_usd;
pub use route::{Access, PathPattern, ROUTES, RouteSpec};
pub use tls::{BadTls, Tls, TlsParts};
