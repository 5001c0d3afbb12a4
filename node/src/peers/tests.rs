//! Tests of whole peers.
