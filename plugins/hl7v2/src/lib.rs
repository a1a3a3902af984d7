//! clinmill plugin hl7v2.
