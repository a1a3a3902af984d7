//! clinmill provenance.
