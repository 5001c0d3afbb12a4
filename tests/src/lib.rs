//! Simulator, checkers and suites.
