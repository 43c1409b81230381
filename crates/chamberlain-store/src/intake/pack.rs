//! Values of core as few bytes: numbers of fixed length, texts behind their length, the fields of
//! a struct one after the other. Written twice for every call, and read after a crash only, by the
//! version that wrote it.

use std::net::IpAddr;
use std::sync::Arc;

use chamberlain_core::id::{CallId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Notice, Outcome, Route, Settlement};
use chamberlain_core::resource::ResourceId;
use chamberlain_core::source::Source;
use chamberlain_core::time::{Timestamp, Window, WindowKind};
use chamberlain_core::usage::{Iteration, IterationKind, Speed, Tokens, Usage};

use crate::words::{Word, word};

/// A value that can be packed.
pub(super) trait Pack: Sized {
    /// Writes it to the end of `out`.
    fn pack(&self, out: &mut Vec<u8>);

    /// Takes it from the beginning of `from`; `None` when it does not begin with one.
    fn unpack(from: &mut &[u8]) -> Option<Self>;
}

/// Structs as their fields in this order.
macro_rules! fields {
    ($($name:ident { $($field:ident),+ $(,)? })+) => { $(
        impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                let $name { $($field),+ } = self;
                $($field.pack(out);)+
            }

            fn unpack(from: &mut &[u8]) -> Option<$name> {
                Some($name { $($field: Pack::unpack(from)?),+ })
            }
        }
    )+ };
}

/// Enums as the place of the variant in this list.
macro_rules! variants {
    ($($name:ident { $($variant:ident),+ $(,)? })+) => { $(
        impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                out.push(match self { $($name::$variant => Place::$variant as u8),+ });
                #[derive(Clone, Copy)]
                enum Place { $($variant),+ }
            }

            fn unpack(from: &mut &[u8]) -> Option<$name> {
                let place = usize::from(u8::unpack(from)?);
                [$($name::$variant),+].get(place).copied()
            }
        }
    )+ };
}

/// Numbers as their bytes.
macro_rules! numbers {
    ($($name:ty),+) => { $(
        impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn unpack(from: &mut &[u8]) -> Option<$name> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(<$name>::from_le_bytes(*bytes))
            }
        }
    )+ };
}

/// Ids as their texts.
macro_rules! ids {
    ($($name:ident),+) => { $(
        impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                pack_text(out, self.as_str());
            }

            fn unpack(from: &mut &[u8]) -> Option<$name> {
                Some($name::new(unpack_text(from)?))
            }
        }
    )+ };
}

/// Enums that stand in columns as a word, by that word.
macro_rules! named {
    ($($name:ident),+) => { $(
        impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                pack_text(out, word(*self));
            }

            fn unpack(from: &mut &[u8]) -> Option<$name> {
                $name::read(unpack_text(from)?)
            }
        }
    )+ };
}

named!(Route, Outcome, Certainty);
numbers!(u8, u16, u32, u64, i64, i128, u128);
ids!(VirtualKeyId, EnvironmentName, UpstreamKeyId);

fields! {
    Intent {
        call, at, virtual_key, environment, upstream_key, route, operation, model, max_tokens,
        stream, source, reserved, accounts, resource,
    }
    Settlement {
        call, at, outcome, certainty, cost, reserved, accounts, served_model, tokens, usage,
        status, upstream_request_id, stop_reason, attempts, first_byte_ms, duration_ms,
    }
    AccountId { scope, window }
    Window { kind, start, end }
    Tokens { input, cache_write_5m, cache_write_1h, cache_read, output }
    Iteration { kind, model, tokens }
    Usage { totals, iterations, web_searches, web_fetches, speed, us_only, service_tier }
}

variants! {
    WindowKind { Daily, Monthly }
    Speed { Standard, Fast }
    IterationKind { Message, Compaction, AdvisorMessage, FallbackMessage, Unknown }
}

fn pack_text(out: &mut Vec<u8>, text: &str) {
    // No text of a call comes near four gigabytes.
    u32::try_from(text.len()).unwrap_or(u32::MAX).pack(out);
    out.extend_from_slice(text.as_bytes());
}

fn unpack_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = u32::unpack(from)? as usize;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(bytes).ok()
}

impl Pack for ResourceId {
    fn pack(&self, out: &mut Vec<u8>) {
        pack_text(out, self.as_str());
    }

    fn unpack(from: &mut &[u8]) -> Option<ResourceId> {
        ResourceId::parse(unpack_text(from)?)
    }
}

impl Pack for String {
    fn pack(&self, out: &mut Vec<u8>) {
        pack_text(out, self);
    }

    fn unpack(from: &mut &[u8]) -> Option<String> {
        unpack_text(from).map(str::to_owned)
    }
}

impl Pack for bool {
    fn pack(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn unpack(from: &mut &[u8]) -> Option<bool> {
        [false, true].get(usize::from(u8::unpack(from)?)).copied()
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        self.is_some().pack(out);
        if let Some(value) = self {
            value.pack(out);
        }
    }

    fn unpack(from: &mut &[u8]) -> Option<Option<T>> {
        if bool::unpack(from)? { Some(Some(T::unpack(from)?)) } else { Some(None) }
    }
}

impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).pack(out);
        self.iter().for_each(|value| value.pack(out));
    }

    fn unpack(from: &mut &[u8]) -> Option<Vec<T>> {
        (0..u32::unpack(from)?).map(|_| T::unpack(from)).collect()
    }
}

impl Pack for CallId {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    fn unpack(from: &mut &[u8]) -> Option<CallId> {
        let (bytes, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(CallId::from_bytes(*bytes))
    }
}

impl Pack for Timestamp {
    fn pack(&self, out: &mut Vec<u8>) {
        self.ms().pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Timestamp> {
        i64::unpack(from).map(Timestamp::from_ms)
    }
}

impl Pack for Money {
    fn pack(&self, out: &mut Vec<u8>) {
        self.pico().pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Money> {
        i128::unpack(from).map(Money::from_pico)
    }
}

impl Pack for Source {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Source::Address(IpAddr::V4(address)) => (4u8, u128::from(address.to_bits())),
            Source::Address(IpAddr::V6(address)) => (6u8, address.to_bits()),
            Source::Local => (0u8, 0),
        }
        .pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Source> {
        match <(u8, u128)>::unpack(from)? {
            (4, bits) => Some(Source::Address(IpAddr::V4(u32::try_from(bits).ok()?.into()))),
            (6, bits) => Some(Source::Address(IpAddr::V6(bits.into()))),
            (0, 0) => Some(Source::Local),
            _ => None,
        }
    }
}

impl<A: Pack, B: Pack> Pack for (A, B) {
    fn pack(&self, out: &mut Vec<u8>) {
        self.0.pack(out);
        self.1.pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<(A, B)> {
        Some((A::unpack(from)?, B::unpack(from)?))
    }
}

impl Pack for Scope {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Scope::Organization => out.push(0),
            Scope::Environment(name) => {
                out.push(1);
                name.pack(out);
            }
            Scope::VirtualKey(id) => {
                out.push(2);
                id.pack(out);
            }
        }
    }

    fn unpack(from: &mut &[u8]) -> Option<Scope> {
        match u8::unpack(from)? {
            0 => Some(Scope::Organization),
            1 => EnvironmentName::unpack(from).map(Scope::Environment),
            2 => VirtualKeyId::unpack(from).map(Scope::VirtualKey),
            _ => None,
        }
    }
}

/// Its facts are any JSON, so all of it is.
impl Pack for Notice {
    fn pack(&self, out: &mut Vec<u8>) {
        let json = serde_json::to_string(self).expect("a notice has texts for names only");
        json.pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Notice> {
        serde_json::from_str(unpack_text(from)?).ok()
    }
}

impl<T: Pack> Pack for Arc<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        T::pack(self, out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Arc<T>> {
        T::unpack(from).map(Arc::new)
    }
}

impl<T: Pack> Pack for Box<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        T::pack(self, out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Box<T>> {
        T::unpack(from).map(Box::new)
    }
}
