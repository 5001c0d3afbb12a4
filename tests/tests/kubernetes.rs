//! dsync on a real Kubernetes: real API server, real kubelets, real pods.
//!
//! `cargo xtask e2e` brings up a cluster of three machines, gives it our images and runs these; run
//! without it they say so. Each test has a namespace of its own, under the restricted pod standard, and
//! anything that the API server warns of fails it.
//!
//! | file | what it shows |
//! |---|---|
//! | `definition` | the API server takes the definition, explains it, and refuses what its rules refuse |
//! | `nodes` | three nodes found a cluster; a lock taken through the service outlives the leader's pod |
//! | `network` | a network policy closes the ports of nodes to strangers |
//! | `machines` | a machine that loses power, or is cut off, takes no lock with it |

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "kubernetes/client.rs"]
mod client;
#[path = "kubernetes/kubectl.rs"]
mod kubectl;
#[path = "kubernetes/namespace.rs"]
mod namespace;
#[path = "kubernetes/three_nodes.rs"]
mod three_nodes;

#[path = "kubernetes/definition.rs"]
mod definition;
#[path = "kubernetes/machines.rs"]
mod machines;
#[path = "kubernetes/network.rs"]
mod network;
#[path = "kubernetes/nodes.rs"]
mod nodes;
