//! The `labvalue` transform.
