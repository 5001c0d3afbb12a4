//! What the compiler does not check: the structure of the project. Each check gives its complaints, a
//! line each, and names the file.

pub mod layering;
pub mod length;
pub mod links;
pub mod top_level;
pub mod words;
