//! Which settings are taken, and which flag is named when they are not.
