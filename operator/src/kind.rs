//! The kinds of objects that the operator keeps.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ApiResource;

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Settings.
    ConfigMap,
    /// Generated secrets.
    Secret,
    /// The identity of pods.
    ServiceAccount,
    /// Names and addresses.
    Service,
    /// Disks. Never deleted by the operator.
    Claim,
    /// The nodes.
    StatefulSet,
    /// Redis.
    Deployment,
    /// How many pods may be taken away at once.
    Budget,
    /// Who may connect.
    NetworkPolicy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::Service,
        Self::Claim,
        Self::StatefulSet,
        Self::Deployment,
        Self::Budget,
        Self::NetworkPolicy,
    ];

    /// How the API server calls it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::Claim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Budget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
        }
    }

    /// `apps/v1` and its like.
    #[must_use]
    pub fn api_version(self) -> String {
        self.resource().api_version
    }

    /// `StatefulSet` and its like.
    #[must_use]
    pub fn name(self) -> String {
        self.resource().kind
    }

    /// Whether the operator may delete one that is not wanted any more.
    #[must_use]
    pub fn may_be_orphaned(self) -> bool {
        !matches!(self, Self::Claim | Self::Secret)
    }
}
