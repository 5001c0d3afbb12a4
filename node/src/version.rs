//! What this build is.

/// `dsync --version`: the version, and the features that only tests have. No shipped build has any, and
/// a test that starts a program refuses one that names some.
pub const VERSION: &str = match (dsync_core::HAS_BUGS, cfg!(feature = "simulated")) {
    (false, false) => env!("CARGO_PKG_VERSION"),
    (true, false) => concat!(env!("CARGO_PKG_VERSION"), " (test features: bugs)"),
    (false, true) => concat!(env!("CARGO_PKG_VERSION"), " (test features: simulated)"),
    (true, true) => concat!(env!("CARGO_PKG_VERSION"), " (test features: bugs, simulated)"),
};
