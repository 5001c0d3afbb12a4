//! The Kubernetes operator of dsync: keeps what a [`crd::DSyncCluster`] asks for.
//!
//! Read [`reconcile`] first: one look at one cluster, from end to end. What it decides is in
//! [`plan`], what it makes in [`build`], what it shows in [`status`]; all three are pure.

pub mod apply;
pub mod backoff;
pub mod build;
pub mod compare;
pub mod controller;
pub mod crd;
pub mod dereference;
pub mod founding;
pub mod generate;
pub mod kind;
pub mod marks;
pub mod metrics;
pub mod names;
pub mod nodes;
pub mod observe;
pub mod plan;
pub mod probes;
pub mod program;
pub mod quantity;
pub mod reconcile;
pub mod secrets;
pub mod status;
pub mod validate;
