//! A strict reading of JSON: duplicate keys and excess depth are refused.
