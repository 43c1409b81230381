//! Traces: which trace a call belongs to.

mod parent;

pub(crate) use parent::TraceParent;
