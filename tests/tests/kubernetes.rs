//! dsync on a real Kubernetes: real API server, real kubelets, real pods.
//!
//! `cargo xtask e2e` brings up a cluster of three machines, gives it our images and runs these inside
//! its network; run without it they say so. Each test has a namespace of its own, under the restricted
//! pod standard, and anything that the API server warns of fails it.
//!
//! | file | what it shows |
//! |---|---|
//! | `definition` | the API server takes the definition, explains it, and refuses what its rules refuse |
//! | `install` | the lines of the page on installing, as they are written, with kubectl and with Helm |
//! | `drift` | every field that the operator sets, and every child, is put back |
//! | `faults` | pods, Redis, images and the resource itself are lost and come back, and no lock with them |
//! | `idle` | at rest the operator writes nothing |
//! | `network` | the ports of nodes and Redis are closed to strangers |
//! | `machines` | a machine that loses power, or is cut off, takes no lock with it |

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "kubernetes/api.rs"]
mod api;
#[path = "kubernetes/audit.rs"]
mod audit;
#[path = "kubernetes/client.rs"]
mod client;
#[path = "kubernetes/cluster.rs"]
mod cluster;
#[path = "kubernetes/kubectl.rs"]
mod kubectl;
#[path = "kubernetes/namespace.rs"]
mod namespace;
#[path = "kubernetes/operator.rs"]
mod operator;
#[path = "kubernetes/patience.rs"]
mod patience;

#[path = "kubernetes/definition.rs"]
mod definition;
#[path = "kubernetes/drift.rs"]
mod drift;
#[path = "kubernetes/faults.rs"]
mod faults;
#[path = "kubernetes/idle.rs"]
mod idle;
#[path = "kubernetes/install.rs"]
mod install;
#[path = "kubernetes/machines.rs"]
mod machines;
#[path = "kubernetes/network.rs"]
mod network;
