//! An incremental reader of server-sent events: push bytes, pull events.
