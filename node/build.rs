//! Has the linker compress the line tables of the shipped binary, and leave its local symbols out.
//!
//! They are most of its bytes and are read only when a backtrace is printed; the standard library
//! inflates them then. A backtrace takes the names of functions from them too, so that the table of
//! symbols, several megabytes, says nothing more. Cargo has no setting for either, and a flag for every
//! package would make all of them compile anew.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable, value| std::env::var(variable).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--compress-debug-sections=zlib");
        println!("cargo::rustc-link-arg-bins=-Wl,--discard-all");
    }
}
