//! The Kubernetes side of dsync: so far the [`crd::DSyncCluster`] type and its definition.

use kube::CustomResourceExt;

pub mod crd;

/// Stands above the definition in `manifests/crd.yaml`.
const HEADER: &str = "# Generated from operator/src/crd by `cargo xtask gen`. Do not edit.\n";

/// The definition of [`crd::DSyncCluster`], as it stands in `manifests/crd.yaml`.
///
/// # Errors
/// If it has no YAML form, which would be a fault of the type.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    let yaml = serde_saphyr::to_string(&crd::DSyncCluster::crd())?;
    Ok(format!("{HEADER}{}\n", yaml.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_definition_is_the_one_that_the_type_gives() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crd.yaml");
        let committed = std::fs::read_to_string(path).unwrap();
        assert_eq!(committed, crd_yaml().unwrap(), "run `cargo xtask gen` and review the change");
    }
}
